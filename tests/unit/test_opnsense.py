"""What os-frr's forms become: the guide's settings line by line, every field, and what the installed FRR says to it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harness.errors import MissingCapability, UserError
from harness.routing import daemons
from harness.routing.opnsense import OsFrr, render

FRR_8 = (8, 4, 4)
FRR_10 = (10, 4, 1)
DEVICES = {"servers": "vlan0130", "lan": "igb1"}

#: The guide's settings (facts/seed.md): four workers and a router further away, next-hop-self, update-source.
WORKERS = ("192.168.130.151", "192.168.130.152", "192.168.130.155", "192.168.130.156")
BLOG: dict[str, Any] = {
    "bgp": {
        "enabled": True,
        "asnumber": 64512,
        "networks": "192.168.128.0/20",
        "redistributions": [{"redistribute": "connected"}],
        "neighbors": [
            {"address": address, "remoteas": 64513, "updatesource": "servers", "nexthopself": True}
            for address in WORKERS
        ]
        + [{"address": "192.168.130.56", "remoteas": 64514, "updatesource": "servers", "nexthopself": True}],
    }
}


def blog_lines() -> list[str]:
    """facts/opnsense.md, section 3, its "same for ..." written out; `ip forwarding` is zebra's part (section 2)."""
    neighbors = [(address, 64513) for address in WORKERS] + [("192.168.130.56", 64514)]
    return [
        "frr defaults traditional",
        "log syslog notifications",
        "ip forwarding",
        "ipv6 forwarding",
        "router bgp 64512",
        " no bgp default ipv4-unicast",
        " no bgp ebgp-requires-policy",
        " bgp network import-check",
        *(
            line
            for address, asn in neighbors
            for line in (f" neighbor {address} remote-as {asn}", f" neighbor {address} update-source vlan0130")
        ),
        " address-family ipv4 unicast",
        "  redistribute connected",
        "  network 192.168.128.0/20",
        *(
            line
            for address, _ in neighbors
            for line in (f"  neighbor {address} activate", f"  neighbor {address} next-hop-self")
        ),
        " exit-address-family",
        " address-family ipv6 unicast",
        "  redistribute connected",
        " exit-address-family",
    ]


#: Every field of every form, set to something else than its default.
EVERYTHING: dict[str, Any] = {
    "general": {"profile": "datacenter", "sysloglevel": "debugging", "enablesnmp": True},
    "bgp": {
        "enabled": True,
        "asnumber": 65000,
        "distance": 30,
        "routerid": "192.0.2.1",
        "graceful": True,
        "networkimportcheck": False,
        "enforce_first_as": False,
        "logneighborchanges": True,
        "networks": ["192.0.2.0/24", "2001:db8::/32"],
        "bestpath": "as-path multipath-relax",
        "maximumpaths": 8,
        "maximumpathsibgp": 4,
        "neighbors": [
            {
                "address": "10.0.0.2",
                "remote_as_mode": "external",
                "localas": 65001,
                "localasoptions": "no-prepend",
                "description": "a worker",
                "bfd": True,
                "bfd_strict": True,
                "password": "secret",
                "weight": 7,
                "disable_connected_check": True,
                "updatesource": "igb1",
                "multihop": True,
                "keepalive": 3,
                "holddown": 9,
                "connecttimer": 5,
                "capabilities": "dynamic",
                "attributeunchanged": "med",
                "peergroup": "fabric",
                "multiprotocol": True,
                "nexthopself": True,
                "nexthopselfall": True,
                "rrclient": True,
                "soft_reconfiguration_inbound": True,
                "defaultoriginate": True,
                "asoverride": True,
                "removeprivateas": "remove-private-AS all",
                "allowas_in": 2,
                "linkedPrefixlistIn": "pool",
                "linkedPrefixlistOut": "u-1",
                "linkedRoutemapIn": "tag",
                "linkedRoutemapOut": ["tag"],
            },
            {"address": "2001:db8::2", "remoteas": 65002, "updatesource": "servers", "linklocalinterface": "servers"},
            {"address": "10.0.0.3", "remoteas": 65003, "enabled": False},
        ],
        "peergroups": [
            {
                "name": "fabric",
                "remoteas": 65009,
                "family": "ipv4,ipv6",
                "listenranges": "10.1.0.0/16,2001:db8:1::/48",
                "updatesource": "servers",
                "nexthopself": True,
                "defaultoriginate": True,
                "linkedPrefixlistIn": "pool",
                "linkedRoutemapOut": "tag",
            }
        ],
        "prefixlists": [
            {"uuid": "u-1", "name": "six", "version": "IPv6", "seqnumber": 10, "action": "permit", "network": "::/0"},
            {"name": "pool", "seqnumber": 20, "action": "deny", "network": "any"},
            {"name": "pool", "seqnumber": 10, "action": "permit", "network": "192.168.142.0/24 ge 32"},
        ],
        "aspaths": [{"number": 12, "action": "permit", "as": "^64513$"}],
        "communitylists": [{"number": 100, "seqnumber": 10, "action": "permit", "community": "64513:7"}],
        "routemaps": [
            {
                "name": "tag",
                "action": "permit",
                "id": 10,
                "match": "12",
                "match2": "pool,six",
                "match3": "100",
                "set": "local-preference 200",
            }
        ],
        "redistributions": [{"redistribute": "static", "linkedRoutemap": "tag"}],
    },
    "bfd": {
        "enabled": True,
        "neighbors": [
            {"address": "10.0.0.2"},
            {
                "address": "10.9.0.2",
                "multihop": True,
                "localaddress": "10.0.0.1",
                "detect_multiplier": 5,
                "receive_interval": 100,
                "transmit_interval": 200,
            },
            {"address": "10.0.0.4", "interfacename": "lan"},
        ],
    },
    "static": {
        "enabled": True,
        "routes": [
            {"network": "10.8.0.0/16", "gateway": "10.0.0.9", "bfd": True},
            {"network": "2001:db8:8::/48", "gateway": "2001:db8::9", "interfacename": "servers"},
        ],
    },
}

EVERYTHING_10 = """\
frr defaults datacenter
log syslog debugging
agentx
ip forwarding
ipv6 forwarding
router bgp 65000
 bgp log-neighbor-changes
 no bgp enforce-first-as
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 bgp bestpath as-path multipath-relax
 bgp router-id 192.0.2.1
 distance bgp 30 30 30
 neighbor fabric peer-group
 neighbor fabric remote-as 65009
 neighbor fabric update-source vlan0130
 neighbor fabric next-hop-self
 neighbor fabric default-originate
 neighbor fabric prefix-list pool in
 neighbor fabric route-map tag out
 bgp listen range 10.1.0.0/16 peer-group fabric
 bgp listen range 2001:db8:1::/48 peer-group fabric
 neighbor 10.0.0.2 remote-as external
 neighbor 10.0.0.2 local-as 65001 no-prepend
 neighbor 10.0.0.2 description a worker
 neighbor 10.0.0.2 bfd strict
 neighbor 10.0.0.2 password secret
 neighbor 10.0.0.2 weight 7
 neighbor 10.0.0.2 disable-connected-check
 neighbor 10.0.0.2 update-source igb1
 neighbor 10.0.0.2 ebgp-multihop 255
 neighbor 10.0.0.2 timers 3 9
 neighbor 10.0.0.2 timers connect 5
 neighbor 10.0.0.2 capability dynamic
 neighbor 10.0.0.2 attribute-unchanged med
 neighbor 10.0.0.2 peer-group fabric
 neighbor 2001:db8::2 remote-as 65002
 neighbor 2001:db8::2 interface vlan0130
 address-family ipv4 unicast
  maximum-paths 8
  maximum-paths ibgp 4
  redistribute static route-map tag
  network 192.0.2.0/24
  neighbor fabric activate
  neighbor 10.0.0.2 activate
  neighbor 10.0.0.2 next-hop-self all
  neighbor 10.0.0.2 route-reflector-client
  neighbor 10.0.0.2 soft-reconfiguration inbound
  neighbor 10.0.0.2 default-originate
  neighbor 10.0.0.2 as-override
  neighbor 10.0.0.2 remove-private-AS all
  neighbor 10.0.0.2 allowas-in 2
  neighbor 10.0.0.2 prefix-list pool in
  neighbor 10.0.0.2 prefix-list six out
  neighbor 10.0.0.2 route-map tag in
  neighbor 10.0.0.2 route-map tag out
 exit-address-family
 address-family ipv6 unicast
  maximum-paths 8
  maximum-paths ibgp 4
  redistribute static route-map tag
  network 2001:db8::/32
  neighbor fabric activate
  neighbor 10.0.0.2 activate
  neighbor 10.0.0.2 next-hop-self all
  neighbor 10.0.0.2 route-reflector-client
  neighbor 10.0.0.2 soft-reconfiguration inbound
  neighbor 10.0.0.2 default-originate
  neighbor 10.0.0.2 as-override
  neighbor 10.0.0.2 remove-private-AS all
  neighbor 10.0.0.2 allowas-in 2
  neighbor 10.0.0.2 prefix-list pool in
  neighbor 10.0.0.2 prefix-list six out
  neighbor 10.0.0.2 route-map tag in
  neighbor 10.0.0.2 route-map tag out
  neighbor 2001:db8::2 activate
 exit-address-family
ip prefix-list pool seq 10 permit 192.168.142.0/24 ge 32
ip prefix-list pool seq 20 deny any
ipv6 prefix-list six seq 10 permit ::/0
bgp as-path access-list 12 permit ^64513$
bgp community-list 100 seq 10 permit 64513:7
route-map tag permit 10
 match as-path 12
 set local-preference 200
 match ip address prefix-list pool
 match ipv6 address prefix-list six
 match community 100
bfd
 peer 10.0.0.2
  detect-multiplier 3
  receive-interval 300
  transmit-interval 300
 peer 10.9.0.2 multihop local-address 10.0.0.1
  detect-multiplier 5
  receive-interval 100
  transmit-interval 200
 peer 10.0.0.4 interface igb1
  detect-multiplier 3
  receive-interval 300
  transmit-interval 300
ip route 10.8.0.0/16 10.0.0.9 bfd
ipv6 route 2001:db8:8::/48 2001:db8::9 vlan0130
"""


def rendered(settings: dict[str, Any], version: tuple[int, ...] = FRR_8) -> str:
    return render(OsFrr.model_validate(settings), DEVICES, version)


def needs_frr() -> None:
    try:
        daemons.installed()
    except MissingCapability as why:
        pytest.skip(str(why))


def test_the_guides_settings_line_by_line() -> None:
    assert rendered(BLOG).splitlines() == blog_lines()


def test_every_field_of_every_form() -> None:
    assert rendered(EVERYTHING, FRR_10) == EVERYTHING_10


def test_frr_8_gets_neither_what_it_does_not_know_nor_what_it_would_misread() -> None:
    missing = set(rendered(EVERYTHING, FRR_10).splitlines()) - set(rendered(EVERYTHING, FRR_8).splitlines())
    assert missing == {
        " no bgp enforce-first-as",
        " neighbor 10.0.0.2 bfd strict",
        # FRR 8.4 takes the word for the name of an interface.
        "ip route 10.8.0.0/16 10.0.0.9 bfd",
    }


@pytest.mark.parametrize("settings", [BLOG, EVERYTHING], ids=["blog", "everything"])
def test_the_installed_frr_takes_it(settings: dict[str, Any]) -> None:
    needs_frr()
    daemons.check(rendered(settings, daemons.frr_version()))


def test_the_installed_frr_names_the_line_that_it_does_not_take() -> None:
    needs_frr()
    with pytest.raises(UserError, match=r"does not take 'neighbour 10\.0\.0\.2 remote-as 1'") as error:
        daemons.check("router bgp 1\n neighbour 10.0.0.2 remote-as 1\n", file="mine.conf")
    assert (error.value.file, error.value.line) == ("mine.conf", 2)


def test_disabled_forms_give_no_lines() -> None:
    off = {**EVERYTHING, "general": {"enabled": False}}
    assert rendered(off).splitlines() == [
        "frr defaults traditional",
        "log syslog notifications",
        "ip forwarding",
        "ipv6 forwarding",
    ]


def test_timers_need_both_keepalive_and_holddown() -> None:
    neighbor = {"address": "10.0.0.2", "remoteas": 1}
    for one in ({"keepalive": 3}, {"holddown": 9}):
        assert " timers " not in rendered({"bgp": {"enabled": True, "neighbors": [{**neighbor, **one}]}})


def test_router_id_only_when_its_field_is_set() -> None:
    assert "router-id" not in rendered(BLOG)


def test_a_disabled_list_is_not_applied() -> None:
    settings = {
        "enabled": True,
        "neighbors": [{"address": "10.0.0.2", "remoteas": 1, "linkedPrefixlistIn": "pool"}],
        "prefixlists": [{"name": "pool", "seqnumber": 1, "action": "permit", "network": "any", "enabled": False}],
    }
    assert "prefix-list" not in rendered({"bgp": settings})


def test_an_unknown_interface_is_the_users_error() -> None:
    settings = {"bgp": {"enabled": True, "neighbors": [{"address": "10.0.0.2", "remoteas": 1, "updatesource": "wan"}]}}
    with pytest.raises(UserError, match=r"interface 'wan'.*it has igb1, lan, servers, vlan0130"):
        rendered(settings)


@pytest.mark.parametrize(
    ("bgp", "where", "what"),
    [
        ({"neighbors": [{"address": "10.0.0.300"}]}, ("bgp", "neighbors", 0, "address"), "IPv4 or IPv6 address"),
        ({"neighbors": [{"address": "10.0.0.2", "holddown": 2}]}, ("bgp", "neighbors", 0, "holddown"), "equal to 3"),
        ({"neighbors": [{"address": "10.0.0.2", "adress": ""}]}, ("bgp", "neighbors", 0, "adress"), "Extra inputs"),
        (
            {"neighbors": [{"address": "10.0.0.2", "peergroup": "x"}]},
            ("bgp",),
            "names 'x', which is none of its peergr",
        ),
        (
            {"neighbors": [{"address": "10.0.0.2", "description": "a\nb"}]},
            ("bgp", "neighbors", 0, "description"),
            "line",
        ),
        ({"asnumber": 0}, ("bgp", "asnumber"), "equal to 1"),
        ({"routerid": "router"}, ("bgp", "routerid"), "IPv4 or IPv6 address"),
        ({"networks": "192.168.128.0/33"}, ("bgp", "networks", 0), "IPv4 or IPv6 network"),
    ],
)
def test_a_wrong_value_is_named(bgp: dict[str, Any], where: tuple[str | int, ...], what: str) -> None:
    with pytest.raises(ValidationError, match=what) as error:
        OsFrr.model_validate({"bgp": bgp})
    assert error.value.errors()[0]["loc"] == where
