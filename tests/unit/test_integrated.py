"""A user's integrated frr.conf, taken apart for the daemons without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import MissingCapability, UserError
from harness.routing import daemons as daemons_module
from harness.routing.daemons import Frr, installed, lab_needs, router_daemons
from harness.routing.integrated import DAEMONS, needed, split

#: As FRR 8 and later write it: an `exit` after each block, which must not reach a daemon that skipped the block.
FILE = """\
frr version 8.5.3
frr defaults traditional
hostname gateway
service integrated-vtysh-config
!
ip forwarding
ip route 10.8.0.0/16 10.0.0.9
!
interface vlan0130
 description servers
 ip ospf cost 10
exit
!
router ospf
 redistribute connected
 network 10.0.0.0/24 area 0
exit
!
router bgp 64512
 no bgp ebgp-requires-policy
 neighbor 10.0.0.2 remote-as 64513
 !
 address-family ipv4 unicast
  network 192.168.128.0/20
 exit-address-family
exit
!
bgp as-path access-list 12 permit ^64513$
ip prefix-list pool seq 10 permit any
!
route-map tag permit 10
 match ip address prefix-list pool
exit
!
bfd
 peer 10.0.0.2
  receive-interval 100
 exit
 !
exit
!
line vty
!
end
"""


def own(daemon: str, text: str = FILE) -> list[str]:
    return [line for line in split(text).config[daemon].splitlines() if line != "!"]


def test_each_daemon_gets_its_own_lines() -> None:
    every = ["frr version 8.5.3", "frr defaults traditional", "hostname gateway", "service integrated-vtysh-config"]
    lists = ["ip prefix-list pool seq 10 permit any"]
    route_map = ["route-map tag permit 10", " match ip address prefix-list pool", "exit"]
    interface = ["interface vlan0130", " description servers", " ip ospf cost 10", "exit"]
    assert own("zebra") == [*every, "ip forwarding", *interface, *lists, *route_map, "line vty"]
    assert own("staticd") == [*every, "ip route 10.8.0.0/16 10.0.0.9", "line vty"]
    assert own("bfdd") == [*every, *FILE.splitlines()[34:38], "exit", "line vty"]
    assert own("bgpd") == [
        *every,
        *(line for line in FILE.splitlines()[18:26] if line.strip() != "!"),
        "bgp as-path access-list 12 permit ^64513$",
        *lists,
        *route_map,
        "line vty",
    ]


def test_lines_keep_their_numbers_so_that_frrs_messages_fit_the_users_file() -> None:
    lines = FILE.splitlines()
    for daemon in DAEMONS:
        for mine, users in zip(split(FILE).config[daemon].splitlines(), lines, strict=True):
            assert mine in (users, "!")


def test_what_lblab_does_not_run_is_named() -> None:
    assert split(FILE).unused == (
        (14, "router ospf"),
        (15, "redistribute connected"),
        (16, "network 10.0.0.0/24 area 0"),
    )


def test_a_file_without_indentation_and_exits() -> None:
    ospf, bfd = "router ospf\nredistribute connected\n", "bfd\npeer 10.0.0.2\n"
    text = f"{ospf}router bgp 1\nneighbor 10.0.0.2 remote-as 2\nhostname x\n{bfd}"
    assert own("bgpd", text) == ["router bgp 1", "neighbor 10.0.0.2 remote-as 2", "hostname x"]
    assert own("bfdd", text) == ["bfd", "peer 10.0.0.2"]


def test_a_block_ends_with_the_first_line_that_is_not_indented() -> None:
    text = "router bgp 1\n neighbor 10.0.0.2 remote-as 2\nagentx\nhostname x\n"
    assert own("zebra", text) == ["agentx", "hostname x"]
    assert own("bgpd", text) == text.splitlines()


@pytest.mark.parametrize(
    ("text", "daemons"),
    [
        ("router bgp 1\n", ("zebra", "bgpd")),
        ("router bgp 1\n neighbor 10.0.0.2 bfd\n", ("zebra", "bgpd", "bfdd")),
        ("bfd\n peer 10.0.0.2\n", ("zebra", "bgpd", "bfdd")),
        ("ipv6 route fd00::/64 fd01::1\n", ("zebra", "bgpd", "staticd")),
        ("vrf red\n ip route 10.0.0.0/8 10.1.1.1\n", ("zebra", "bgpd", "staticd")),
        ("router bgp 1\n neighbor 10.0.0.2 description ip route bfd\n", ("zebra", "bgpd")),
        (FILE, ("zebra", "bgpd", "bfdd", "staticd")),
    ],
)
def test_only_the_daemons_that_a_configuration_needs(text: str, daemons: tuple[str, ...]) -> None:
    assert needed(text) == daemons


def test_how_a_routers_daemons_are_called() -> None:
    run = Path("/run/lab/r1")
    plan = router_daemons("r1", FILE, run, Frr(Path("/usr/lib/frr"), (8, 4, 4), bmp=True))
    assert [daemon.name for daemon in plan.daemons] == ["zebra", "bgpd", "bfdd", "staticd"]
    bgpd = plan["bgpd"]
    common = "-N r1 --vty_socket /run/lab/r1 -z /run/lab/r1/zserv.api"
    assert " ".join(bgpd.argv) == (
        f"/usr/lib/frr/bgpd {common} -i /run/lab/r1/bgpd.pid -u root -g root -P 0 --log stdout -M bmp"
        " -f /run/lab/r1/bgpd.conf"
    )
    assert (bgpd.ready, bgpd.after) == (run / "bgpd.vty", ("zebra",))
    assert (plan["zebra"].ready, plan["zebra"].after) == (run / "zserv.api", ())
    assert plan.files[run / "bgpd.conf"] == split(FILE).config["bgpd"]
    assert not plan.configure


def test_daemons_that_leave_their_configuration_to_mgmtd_get_no_file() -> None:
    frr = Frr(Path("/usr/lib/frr"), (10, 3, 1), bmp=False, reads_file=frozenset({"bgpd", "bfdd"}), mgmtd=True)
    plan = router_daemons("r1", FILE, Path("/run/lab/r1"), frr)
    assert [daemon.name for daemon in plan.daemons] == ["mgmtd", "zebra", "bgpd", "bfdd", "staticd"]
    assert "-f" not in plan["staticd"].argv
    assert "-f" not in plan["mgmtd"].argv
    assert "-M" not in plan["bgpd"].argv
    assert "ip route 10.8.0.0/16 10.0.0.9" in plan.configure["mgmtd"]
    assert set(plan.files) == {Path("/run/lab/r1/bgpd.conf"), Path("/run/lab/r1/bfdd.conf")}


def test_a_run_folder_that_is_too_long_for_sockets_is_refused() -> None:
    with pytest.raises(UserError, match="too long for UNIX sockets"):
        router_daemons("r1", FILE, Path("/" + "x" * 100), Frr(Path("/usr/lib/frr"), (8, 4, 4), bmp=True))


def test_frrs_groups_are_gid_0_and_others_stay() -> None:
    needs = lab_needs(Path("/lab"), "root:x:0:\nfrrvty:x:106:frr\nfrr:x:107:\nusers:x:100:\n")
    assert needs.files[Path("/lab/group")] == "root:x:0:\nusers:x:100:\nfrrvty:x:0:root\nfrr:x:0:root\n"
    assert [(mount.kind, str(mount.target)) for mount in needs.mounts] == [
        ("bind", "/etc/group"),
        ("bind", "/etc/frr"),
        ("tmpfs", "/run"),
        ("tmpfs", "/var/tmp"),
    ]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which this machine's FRR is looked for."""
    monkeypatch.setattr(daemons_module, "FOLDERS", ("/nowhere", str(tmp_path)))
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()


def program(folder: Path, name: str, help_text: str, version: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo '{name} version {version}' || echo '{help_text}'\n")
    path.chmod(0o755)


def test_no_frr_says_what_to_install(machine: Path) -> None:
    with pytest.raises(MissingCapability, match=r"^FRR is not installed.*apt-get install frr"):
        installed()


def test_half_an_frr_says_what_is_absent(machine: Path) -> None:
    program(machine, "bgpd", "", "8.4.4")
    program(machine, "zebra", "", "8.4.4")
    with pytest.raises(MissingCapability, match=r"lacks bfdd, staticd"):
        installed()


def test_frr_10_is_asked_which_daemons_take_a_file(machine: Path) -> None:
    for name in ("zebra", "bgpd", "bfdd", "staticd", "mgmtd"):
        program(machine, name, "-f, --config_file" if name in ("bgpd", "bfdd") else "-N", "10.3.1_git")
    frr = installed()
    assert (frr.folder, frr.version, frr.mgmtd) == (machine, (10, 3, 1), True)
    assert frr.reads_file == {"bgpd", "bfdd"}
    assert installed() is frr
