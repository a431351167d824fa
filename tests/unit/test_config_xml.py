"""A user's config.xml gives the same settings as a topology, and says what it could not use."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_opnsense import BLOG

from harness.errors import UserError
from harness.routing.config_xml import ConfigXml, Interface, load
from harness.routing.opnsense import OsFrr, render

DEVICES = {"servers": "vlan0130"}


def neighbor(address: str, asn: int, more: str = "") -> str:
    return f"""
      <neighbor uuid="n-{address}">
        <enabled>1</enabled><description/><address>{address}</address><remoteas>{asn}</remoteas>
        <updatesource>opt3</updatesource><nexthopself>1</nexthopself><multihop>0</multihop><keepalive></keepalive>
        {more}
      </neighbor>"""


#: The guide's settings as os-frr 1.38 stores them: `redistribute` is still a list, there is no 1.44 grid.
BLOG_XML = f"""<?xml version="1.0"?>
<opnsense>
  <interfaces>
    <lan><if>igb1</if><descr>LAN</descr><ipaddr>192.168.20.1</ipaddr><subnet>24</subnet></lan>
    <wan><if>igb0</if><ipaddr>dhcp</ipaddr></wan>
    <opt3><if>vlan0130</if><descr>SERVERS</descr><ipaddr>192.168.130.1</ipaddr><subnet>24</subnet></opt3>
  </interfaces>
  <OPNsense><quagga>
    <general version="1.0.4">
      <enabled>1</enabled><profile>traditional</profile><enablesyslog>1</enablesyslog>
      <sysloglevel>notifications</sysloglevel><daemons>zebra bgpd</daemons>
    </general>
    <bgp version="1.0.5">
      <enabled>1</enabled><asnumber>64512</asnumber><networkimportcheck>1</networkimportcheck>
      <networks>192.168.128.0/20</networks><redistribute>connected</redistribute>
      <neighbors>{"".join(neighbor(f"192.168.130.{n}", 64513) for n in (151, 152, 155, 156))}
        {neighbor("192.168.130.56", 64514)}
      </neighbors>
      <aspaths/><prefixlists/>
    </bgp>
    <bfd><enabled>0</enabled></bfd>
    <ospf><enabled>0</enabled></ospf>
  </quagga></OPNsense>
</opnsense>
"""


def read(tmp_path: Path, text: str) -> ConfigXml:
    path = tmp_path / "config.xml"
    path.write_text(text)
    return load(path)


def router(bgp: str) -> str:
    return f"<opnsense><OPNsense><quagga>\n<bgp><enabled>1</enabled>\n{bgp}\n</bgp></quagga></OPNsense></opnsense>"


def test_the_guides_router_is_the_same_as_its_topology(tmp_path: Path) -> None:
    config = read(tmp_path, BLOG_XML)
    assert config.warnings == ()
    version = (8, 4, 4)
    assert render(config.os_frr, DEVICES, version) == render(OsFrr.model_validate(BLOG), DEVICES, version)


def test_interfaces_are_known_by_key_device_and_address(tmp_path: Path) -> None:
    interfaces = read(tmp_path, BLOG_XML).interfaces
    assert interfaces["opt3"] == Interface("opt3", "vlan0130", "SERVERS", "192.168.130.1/24")
    assert interfaces["wan"] == Interface("wan", "igb0", "", None)


def test_lists_are_linked_by_uuid(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        router(
            """
            <neighbors><neighbor uuid="n"><address>10.0.0.2</address><remoteas>1</remoteas>
              <linkedPrefixlistIn>p-1</linkedPrefixlistIn><linkedRoutemapOut>m-1</linkedRoutemapOut>
              <peergroup>g-1</peergroup></neighbor></neighbors>
            <peergroups><peergroup uuid="g-1"><name>fabric</name><family>ipv4,ipv6</family></peergroup></peergroups>
            <prefixlists><prefixlist uuid="p-1"><name>pool</name><version>IPv4</version><seqnumber>10</seqnumber>
              <action>permit</action><network>192.168.142.0/24 ge 32</network></prefixlist></prefixlists>
            <aspaths><aspath uuid="a-1"><number>12</number><action>permit</action><as>_64513$</as></aspath></aspaths>
            <routemaps><routemap uuid="m-1"><name>tag</name><action>permit</action><id>10</id>
              <match>a-1</match><match2>p-1</match2><set>metric 5</set></routemap></routemaps>
            <redistributions><redistribution uuid="r"><redistribute>static</redistribute>
              <linkedRoutemap>m-1</linkedRoutemap></redistribution></redistributions>
            """
        ),
    )
    assert config.warnings == ()
    # Without //OPNsense/quagga/general os-frr does not run.
    assert not config.os_frr.general.enabled
    running = config.os_frr.model_copy(update={"general": OsFrr().general})
    lines = [line.strip() for line in render(running, {}, (8, 4, 4)).splitlines()]
    for line in (
        "neighbor 10.0.0.2 prefix-list pool in",
        "neighbor 10.0.0.2 route-map tag out",
        "neighbor 10.0.0.2 peer-group fabric",
        "redistribute static route-map tag",
        "bgp as-path access-list 12 permit _64513$",
        "match as-path 12",
        "match ip address prefix-list pool",
        "set metric 5",
    ):
        assert line in lines


def test_what_is_not_understood_is_named_with_its_line(tmp_path: Path) -> None:
    text = BLOG_XML.replace("<remoteas>64514</remoteas>", "<remoteas>64514</remoteas><telepathy>1</telepathy>", 1)
    text = text.replace("<ospf><enabled>0", "<ospf><enabled>1")
    text = text.replace("<nexthopself>1</nexthopself>", "<linkedRoutemapIn>gone</linkedRoutemapIn>", 1)
    config = read(tmp_path, text)
    line = {word: 1 + text[: text.index(word)].count("\n") for word in ("<telepathy>", "<ospf>", "gone")}
    path = tmp_path / "config.xml"
    assert set(config.warnings) == {
        f"{path}:{line['<telepathy>']}: bgp/neighbors/telepathy = '1' is not understood",
        f"{path}:{line['<ospf>']}: ospf is enabled, which lblab does not run",
        f"{path}:{line['gone']}: neighbors linkedRoutemapIn refers to gone, which is none of its routemaps",
    }
    assert config.os_frr.bgp.neighbors[0].linkedRoutemapIn == ()


def test_a_router_with_an_frr_file_of_its_own(tmp_path: Path) -> None:
    text = BLOG_XML.replace("<profile>", "<manual_config>1</manual_config><profile>")
    (warning,) = read(tmp_path, text).warnings
    assert "manual_config is on" in warning


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (router("<asnumber>0</asnumber>"), 3, r"os-frr's bgp/asnumber is '0': .*greater than or equal to 1"),
        (
            router("<neighbors>\n<neighbor>\n<address>10.0.0.300</address></neighbor></neighbors>"),
            5,
            r"bgp/neighbors/address is '10\.0\.0\.300': .*does not appear to be an IPv4 or IPv6 address",
        ),
        (router("<neighbors>\n<neighbor><remoteas>1</remoteas></neighbor></neighbors>"), 4, r"address: Field required"),
        ("<opnsense>\n<OPNsense>\n</opnsense>", 3, r"not well-formed XML"),
        ("", 1, r"not well-formed XML"),
        ("---- BEGIN config.xml ----\nabc", 1, r"not well-formed XML.*encrypted"),
        ("<pfsense/>", 1, r"this is <pfsense>, not an OPNsense configuration"),
        ("<opnsense><OPNsense/></opnsense>", None, r"has no os-frr settings"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>\n<opnsense/>", None, r"has no DTD or entities"),
    ],
)
def test_a_configuration_that_cannot_be_used(tmp_path: Path, text: str, line: int | None, what: str) -> None:
    with pytest.raises(UserError, match=what) as error:
        read(tmp_path, text)
    assert error.value.file == str(tmp_path / "config.xml")
    assert error.value.line == line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read this configuration: No such file"):
        load(tmp_path / "config.xml")
