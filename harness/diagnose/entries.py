"""What each mechanism would leave behind: one entry each.

To add one, copy an entry, and give it a name in `harness.lag.mechanisms`. An entry names the questions
(`questions.Question`) whose answer decides, and those whose answer speaks for it:

- `needs`: what has to be seen of it. The opposite answer excludes it, and is the reason that is given.
- `excluded_by`: answers with which it cannot be, and which need not have been asked.
- `speaks`: each such answer makes it likelier, by its weight; the opposite answer less likely, by half of it.
- `capture`: what to record, one command each, when it could be this one and the recording cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.diagnose.questions import Question as Q
from harness.lag.mechanisms import Mechanism

YES, NO = True, False


@dataclass(frozen=True)
class Entry:
    """How one mechanism is known.

    Attributes:
        mechanism: Which.
        needs: Answers that have to be there.
        excluded_by: Answers that must not be there.
        speaks: Answers that make it likelier, with their weights: 1 for what others show as well, 4 for what no other
            mechanism shows.
        capture: What would tell.
    """

    mechanism: Mechanism
    needs: Mapping[Q, bool]
    excluded_by: Mapping[Q, bool]
    speaks: Mapping[tuple[Q, bool], float]
    capture: tuple[str, ...]


_AT_ROUTER = (
    "at the router, for at least an hour: tcpdump -ni {device} -s 192 -w nodes.pcap 'host {address} or arp or icmp'"
)
_AT_NODE = "at the node, through one lag: tcpdump -ni any -s 192 -w node.pcap 'host {address} or arp'"
_SPEAKERS = "kubectl logs -n metallb-system --timestamps POD of every speaker"
_PODS, _NODES = "kubectl get pods -A -o json > pods.json", "kubectl get nodes -o json > nodes.json"
_LEASES = "before and after a lag: kubectl get leases -n kube-system -o json > leases.json"
_PING = "beside it, from a player's machine: ping -D -i 1 {address}, and ping -D -i 1 each node's own address"

ENTRIES = (
    Entry(
        Mechanism.TWO_ANNOUNCERS,
        needs={Q.MOVED_AT_BEGIN: YES},
        excluded_by={Q.STRANGER: YES, Q.ANNOUNCED_AT_BEGIN: YES, Q.EXPIRED: YES, Q.NODE_LOST: YES, Q.TWO_ANSWER: NO},
        speaks={
            (Q.TWO_ANSWER, YES): 4,
            (Q.THERE_AND_BACK, YES): 2,
            (Q.AT_REFRESH, YES): 2,
            (Q.ANNOUNCED_AT_END, NO): 1,
            (Q.STRANGERS, YES): 1,
            (Q.PATH_WORKS, YES): 1,
            (Q.SPEAKER_LOST, NO): 1,
            (Q.LEASE_CHANGED, NO): 1,
        },
        capture=(_AT_ROUTER,),
    ),
    Entry(
        Mechanism.SPEAKER_STALL,
        needs={Q.MOVED_AT_BEGIN: YES, Q.ANNOUNCED_AT_BEGIN: YES},
        excluded_by={Q.STRANGER: YES, Q.NODE_LOST: YES, Q.LEASE_CHANGED: YES, Q.PATH_WORKS: NO},
        speaks={
            (Q.SPEAKER_LOST, YES): 3,
            (Q.THERE_AND_BACK, YES): 2,
            (Q.ANNOUNCED_AT_END, YES): 2,
            (Q.STRANGERS, YES): 1,
            (Q.PATH_WORKS, YES): 2,
            (Q.AT_REFRESH, NO): 1,
        },
        capture=(_AT_ROUTER, _SPEAKERS, _PODS),
    ),
    Entry(
        Mechanism.ARP_UNANSWERED,
        needs={Q.EXPIRED: YES},
        excluded_by={Q.MOVED_AT_BEGIN: YES, Q.NODE_LOST: YES, Q.ONLY_DOWN: YES, Q.PATH_WORKS: YES},
        speaks={
            (Q.EXPIRED, YES): 3,
            (Q.AT_REFRESH, YES): 3,
            (Q.LINK_WENT, NO): 1,
            (Q.MOVED_AT_END, NO): 1,
        },
        capture=(_AT_ROUTER,),
    ),
    Entry(
        Mechanism.GARP_LOST,
        needs={Q.LEARNED_LATE: YES},
        excluded_by={Q.STRANGER: YES, Q.ANNOUNCED_AT_END: YES, Q.BOTH_CLAIM: YES, Q.TWO_ANSWER: YES},
        speaks={
            (Q.LEARNED_LATE, YES): 4,
            (Q.NODE_LOST, YES): 2,
            (Q.SPEAKER_LOST, YES): 1,
            (Q.TWO_ANSWER, NO): 1,
        },
        capture=(_AT_ROUTER,),
    ),
    Entry(
        Mechanism.SPLIT_BRAIN,
        needs={Q.BOTH_CLAIM: YES},
        excluded_by={Q.PATH_WORKS: YES, Q.NODE_LOST: NO},
        speaks={(Q.BOTH_CLAIM, YES): 4, (Q.NODE_LOST, YES): 2, (Q.SPEAKER_LOST, YES): 2, (Q.LINK_WENT, NO): 1},
        capture=(_AT_ROUTER, _SPEAKERS),
    ),
    Entry(
        Mechanism.LEASE_LOST,
        needs={Q.LEASE_CHANGED: YES},
        excluded_by={Q.STRANGER: YES, Q.NODE_LOST: YES},
        speaks={
            (Q.LEASE_CHANGED, YES): 4,
            (Q.MOVED_AT_END, YES): 1,
            (Q.MOVED_AT_BEGIN, YES): 1,
            (Q.SPEAKER_LOST, NO): 1,
            (Q.TWO_ANSWER, NO): 1,
        },
        capture=(_AT_ROUTER, _LEASES),
    ),
    Entry(
        Mechanism.STALE_REPLY_PATH,
        needs={Q.ONLY_DOWN: YES, Q.MOVED_AT_BEGIN: NO},
        excluded_by={Q.EXPIRED: YES, Q.SERVER_STALLED: YES, Q.STRANGERS: YES, Q.RETURNED: YES},
        speaks={
            (Q.ONLY_DOWN, YES): 3,
            (Q.NODE_ASKED, YES): 3,
            (Q.PATH_WORKS, NO): 1,
            (Q.LINK_WENT, NO): 1,
            (Q.SERVER_STALLED, NO): 1,
        },
        capture=(_AT_NODE,),
    ),
    Entry(
        Mechanism.DUPLICATE_ADDRESS,
        needs={Q.STRANGER: YES},
        excluded_by={Q.MOVED_AT_BEGIN: NO},
        speaks={(Q.STRANGER, YES): 4, (Q.REFUSED, YES): 3, (Q.CONFLICT, YES): 3, (Q.PATH_WORKS, NO): 1},
        capture=(_AT_ROUTER, _NODES, "the router's DHCP leases"),
    ),
    Entry(
        Mechanism.EARLY_RETURN,
        needs={Q.RETURNED: YES},
        excluded_by={Q.STRANGER: YES, Q.PATH_WORKS: YES, Q.EXPIRED: YES},
        speaks={
            (Q.RETURNED, YES): 4,
            (Q.PATH_WORKS, NO): 2,
            (Q.MOVED_AT_END, NO): 1,
            (Q.SPEAKER_LOST, YES): 1,
            (Q.STRANGERS, NO): 1,
            (Q.NODE_LOST, NO): 1,
        },
        capture=(_AT_ROUTER,),
    ),
    Entry(
        Mechanism.SERVER_STALL,
        needs={Q.SERVER_STALLED: YES},
        excluded_by={Q.MOVED_AT_BEGIN: YES, Q.EXPIRED: YES, Q.NODE_LOST: YES, Q.STRANGERS: YES, Q.PATH_WORKS: NO},
        speaks={
            (Q.SERVER_STALLED, YES): 4,
            (Q.PATH_WORKS, YES): 3,
            (Q.HELD_BACK, YES): 1,
            (Q.MOVED_AT_BEGIN, NO): 1,
        },
        capture=(_AT_ROUTER, _PING, "the game server's own log"),
    ),
    Entry(
        Mechanism.LINK_FLAP,
        needs={Q.LINK_WENT: YES},
        excluded_by={Q.BOTH_CLAIM: YES, Q.PATH_WORKS: YES, Q.NODE_LOST: NO},
        speaks={(Q.LINK_WENT, YES): 4, (Q.NODE_LOST, YES): 2, (Q.MOVED_AT_BEGIN, NO): 1},
        capture=(_AT_ROUTER, _PING, "the switch's log of its ports, and ethtool -S of the node's NIC"),
    ),
)
