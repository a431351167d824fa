"""What can happen to a lab: one file for each kind of fault, each stamped when it takes effect and undone at the end.

A scenario says `with lab.fault(AgentKilled("worker1", restart_after=3)) as fault:`; the command line says
`lblab fault agent-kill worker1 --restart-after 3s`. To add a kind, copy one of the small files and import it here.
"""

from harness.faults.address import AddressTaken
from harness.faults.agent import AgentKilled, AgentStalled, AgentStopped
from harness.faults.api_filter import ApiServerFiltered
from harness.faults.backend import BackendKilled, BackendMoved, BackendUnready
from harness.faults.base import Fault, Injected
from harness.faults.bgp_filter import BgpFiltered
from harness.faults.control_plane import (
    ApiServerGone,
    ApiServerStopped,
    ControllerManagerGone,
    KubeletGone,
    KubeletStopped,
    OperatorGone,
)
from harness.faults.host_off import NodePaused, NodeStopped, RouterContainerRestarted
from harness.faults.impairment import PacketDelay, PacketLoss
from harness.faults.link import LinkDown
from harness.faults.memberlist import MemberlistFiltered
from harness.faults.neighbour import GatewayLost
from harness.faults.node import NodeCrashed, NodeShutDown, NodeSilent
from harness.faults.pods import PodDeleted, RolloutRestarted
from harness.faults.router import BgpdKilled, BgpdRestarted, RouterDaemonsRestarted, RouterRebooted
from harness.faults.server import ServerStalled
from harness.faults.spanning_tree import SpanningTree
from harness.faults.speaker import SpeakerKilled, SpeakerStalled, SpeakerStopped

__all__ = [
    "AddressTaken",
    "AgentKilled",
    "AgentStalled",
    "AgentStopped",
    "ApiServerFiltered",
    "ApiServerGone",
    "ApiServerStopped",
    "BackendKilled",
    "BackendMoved",
    "BackendUnready",
    "BgpFiltered",
    "BgpdKilled",
    "BgpdRestarted",
    "ControllerManagerGone",
    "Fault",
    "GatewayLost",
    "Injected",
    "KubeletGone",
    "KubeletStopped",
    "LinkDown",
    "MemberlistFiltered",
    "NodeCrashed",
    "NodePaused",
    "NodeShutDown",
    "NodeSilent",
    "NodeStopped",
    "OperatorGone",
    "PacketDelay",
    "PacketLoss",
    "PodDeleted",
    "RolloutRestarted",
    "RouterContainerRestarted",
    "RouterDaemonsRestarted",
    "RouterRebooted",
    "ServerStalled",
    "SpanningTree",
    "SpeakerKilled",
    "SpeakerStalled",
    "SpeakerStopped",
]
