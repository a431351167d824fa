"""Record what the installed FRR answers in the situations that matter, for tests/unit/test_frr_models.py.

Run it by hand when a new FRR is to be understood: `python tests/integration/record_frr.py FOLDER`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from frr_lab import FrrLab

from harness.routing.vty import VtyError
from harness.wait import until

ROUTER = """\
router bgp 64512
 bgp router-id 1.1.1.1
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 neighbor 10.0.0.2 remote-as 64513
 neighbor 10.0.0.2 description first
 neighbor 10.0.0.2 password secret
 neighbor 10.0.0.2 ebgp-multihop 10
 neighbor 10.0.0.3 remote-as 64513
 neighbor 10.0.0.9 remote-as 64513
 neighbor fd00::2 remote-as 64513
 address-family ipv4 unicast
  neighbor 10.0.0.2 activate
  neighbor 10.0.0.2 soft-reconfiguration inbound
  neighbor 10.0.0.3 activate
  neighbor 10.0.0.9 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor fd00::2 activate
 exit-address-family
"""
NODE = """\
ip route 192.168.142.1/32 blackhole
ipv6 route fd01::1/128 blackhole
router bgp 64513
 bgp router-id {id}.{id}.{id}.{id}
 no bgp ebgp-requires-policy
 bgp graceful-restart
 bgp graceful-restart restart-time 20
 bgp graceful-restart preserve-fw-state
 timers bgp 3 9
 neighbor 10.0.0.1 remote-as 64512
 neighbor fd00::1 remote-as 64512
 {more}
 address-family ipv4 unicast
  network 192.168.142.1/32
  neighbor 10.0.0.1 route-map tag out
 exit-address-family
 address-family ipv6 unicast
  network fd01::1/128
  neighbor fd00::1 activate
 exit-address-family
route-map tag permit 10
 set community 64513:7 64513:8
 set large-community 64513:1:2
"""
MORE = " neighbor 10.0.0.1 password secret\n neighbor 10.0.0.1 ebgp-multihop 10"


def main(folder: Path) -> None:
    configs = {"r1": ROUTER, "r2": NODE.format(id=2, more=MORE), "r3": NODE.format(id=3, more="")}
    lab = FrrLab(Path(tempfile.mkdtemp(prefix="frr")), configs)
    router = lab.vty["r1"]

    def peer(address: str) -> Any:
        return router.show_json("bgpd", "show bgp neighbors")[address]

    def record(name: str, daemon: str, command: str) -> None:
        (folder / f"{name}.json").write_text(json.dumps(router.show_json(daemon, command), indent=1) + "\n")

    def routes() -> Any:
        return router.show_json("bgpd", "show bgp ipv4 unicast")["routes"].get("192.168.142.1/32", [])

    for name in lab.routers:
        lab.start(name)
    until("both paths", routes, lambda paths: any("multipath" in p for p in paths), within=20)
    until("EoR", lambda: peer("fd00::2")["gracefulRestartInfo"], lambda gr: gr["endOfRibRecv"], within=20)
    record("neighbors_established", "bgpd", "show bgp neighbors json")
    record("routes_ipv4", "bgpd", "show bgp ipv4 unicast json detail")
    record("routes_ipv6", "bgpd", "show bgp ipv6 unicast json detail")
    record("received_routes", "bgpd", "show bgp ipv4 unicast neighbors 10.0.0.2 received-routes json")
    until("FIB", lambda: router.show_json("zebra", "show ip route"), lambda rib: "192.168.142.1/32" in rib, within=5)
    record("rib_ipv4", "zebra", "show ip route json")
    record("rib_ipv6", "zebra", "show ipv6 route json")
    lab.kill("r3", "bgpd")
    until("stale", routes, lambda paths: any(p.get("stale") for p in paths), within=5)
    record("routes_stale", "bgpd", "show bgp ipv4 unicast json detail")
    record("neighbors_stale", "bgpd", "show bgp neighbors json")
    lab.vty["r2"].configure("bgpd", ["router bgp 64513", "neighbor 10.0.0.1 shutdown"])
    until("shutdown", lambda: peer("10.0.0.2"), lambda p: p["bgpState"] != "Established", within=5)
    until("notification", lambda: peer("10.0.0.2"), lambda p: "lastNotificationReason" in p, within=5)
    record("neighbors_shutdown_received", "bgpd", "show bgp neighbors json")
    router.configure("bgpd", ["router bgp 64512", "no neighbor 10.0.0.9", "neighbor fd00::2 shutdown message by hand"])
    until("shutdown", lambda: peer("fd00::2"), lambda p: p["bgpState"] != "Established", within=5)
    record("neighbors_shutdown_sent", "bgpd", "show bgp neighbors json")
    lab.start("r3", "bgpd")
    # Not before End-of-RIB: until the first message after Established, FRR 8.4.4 runs the configured hold time, 180 s.
    until("back", lambda: peer("10.0.0.3")["gracefulRestartInfo"], lambda gr: gr["endOfRibRecv"], within=20)
    lab.ask("stop", router="r3", daemon="bgpd")
    until("hold", lambda: peer("10.0.0.3"), lambda p: p["bgpState"] != "Established", within=20)
    record("neighbors_hold_expired", "bgpd", "show bgp neighbors json")
    try:
        record("bmp", "bgpd", "show bmp json")
    except VtyError as error:
        print(error)
    lab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
