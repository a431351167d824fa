"""Loss and delay on a host's link: netem where the kernel has it; else the packet filter loses, and nothing delays."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.backends.base import Impairment
from harness.backends.netns import kernel_ops
from harness.backends.netns.kernel_ops import Interval
from harness.backends.netns.namespaces import in_netns
from harness.backends.netns.spec import FABRIC, Interface
from harness.errors import MissingCapability

_TABLE = "lblab_fault_impaired"
#: The filter draws a number below this for each frame: hundredths of a percent.
_DRAW = 10_000


def impair(interface: Interface, wanted: Impairment | None) -> tuple[Interval, str]:
    """Impair one link, or make it whole again (None); gives when, and by what means.

    Raises:
        MissingCapability: for a delay on a kernel without netem.
    """
    if wanted is None:
        _set_netem(interface, None)
        return in_netns(interface.namespace, lambda: kernel_ops.nft(_remove())), "netem and packet filter removed"
    interval = _set_netem(interface, wanted)
    if interval is not None:
        return interval, "netem"
    if wanted.delay_seconds:
        raise MissingCapability("this kernel cannot delay packets: it has no netem", hint="modprobe sch_netem as root")
    commands = _remove() + _lose(interface.device, wanted)
    return in_netns(interface.namespace, lambda: kernel_ops.nft(commands)), "packet filter, as the kernel has no netem"


def _remove() -> str:
    return f"add table netdev {_TABLE}; delete table netdev {_TABLE};"


def _lose(device: str, wanted: Impairment) -> str:
    below = round(wanted.loss_percent * _DRAW / 100)
    drop = "drop;" if below >= _DRAW else f"numgen random mod {_DRAW} < {below} drop;"
    hooks = {"in": ["ingress"], "out": ["egress"], "both": ["ingress", "egress"]}[wanted.direction]
    chains = "".join(
        f'chain {hook} {{ type filter hook {hook} device "{device}" priority 0; {drop} }};' for hook in hooks
    )
    return f"table netdev {_TABLE} {{ {chains} }}"


def _set_netem(interface: Interface, wanted: Impairment | None) -> Interval | None:
    """Set, or remove, netem at the sending sides; None when the kernel has none."""
    interval = None
    # what the host receives is what the switch's port sends
    for direction, namespace, device in (
        ("out", interface.namespace, interface.device),
        ("in", FABRIC, interface.switch_port),
    ):
        chosen = wanted if wanted is not None and wanted.direction in (direction, "both") else None
        done = in_netns(namespace, partial(_netem, device, chosen))
        if chosen is not None:
            if done is None:
                return None
            interval = done if interval is None else interval.until(done)
    return interval


def _netem(device: str, wanted: Impairment | None) -> Interval | None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as ip:
        index = ip.link_lookup(ifname=device)[0]
        ours = [q for q in ip.get_qdiscs(index=index) if dict(q["attrs"]).get("TCA_KIND") == "netem"]
        options: dict[str, Any] = {"index": index, "handle": "1:"}
        if wanted is None:
            if ours:
                ip.tc("del", "netem", **options)
            return None
        with kernel_ops.timed() as interval:
            try:
                # pyroute2 takes microseconds and percent
                ip.tc("replace", "netem", **options, delay=round(wanted.delay_seconds * 1e6), loss=wanted.loss_percent)
            except NetlinkError as error:
                if error.code in (_ENOENT, _EOPNOTSUPP):
                    return None
                raise
        return interval


#: The kernel's answers for a queueing discipline that it does not have.
_ENOENT, _EOPNOTSUPP = 2, 95
