"""Makes `api.yaml`, the table of what each Cilium minor serves, out of Cilium's Go types.

`python -m harness.cilium.tabulate` writes the file anew; it needs Go and fetches each release's sources with
`go mod download`. For a new Cilium minor add a release to `RELEASES` and run it.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from pathlib import Path

from harness.cilium.semver import parse

#: The release that stands for each minor: the newest that could be had when the table was made.
RELEASES = ("1.12.19", "1.13.18", "1.14.19", "1.15.19", "1.16.0", "1.17.0", "1.18.0", "1.19.6", "1.20.2")

#: The kinds that a lab acts on, whose fields are listed too.
WITH_FIELDS = (
    "CiliumBGPAdvertisement",
    "CiliumBGPClusterConfig",
    "CiliumBGPNodeConfig",
    "CiliumBGPNodeConfigOverride",
    "CiliumBGPPeerConfig",
    "CiliumBGPPeeringPolicy",
    "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool",
    "CiliumPodIPPool",
)

#: In 1.15 the BGPv2 types exist and nothing acts on them; the first release whose control plane reads them is 1.16.0
#: (cilium/cilium#32426), so a lab says that 1.15 does not serve them.
WITHOUT_EFFECT = {
    ("1.15", "cilium.io/v2alpha1", kind)
    for kind in WITH_FIELDS
    if kind.startswith("CiliumBGP") and "Policy" not in kind
}

_HEAD = """\
# What each Cilium minor serves: kinds of the API group cilium.io, and the fields of those that a lab acts on.
# Made by `python -m harness.cilium.tabulate` out of Cilium's Go types; not to be edited.
# 1.13-1.18: first and last minor; 1.18-: the newest minor of the table has it too.
"""


def types_of(release: str) -> set[tuple[str, str, str]]:
    """The (apiVersion, kind, field path) triples of a release; the path is empty for the kind itself."""
    wanted = f"github.com/cilium/cilium@v{release}"
    download = subprocess.run(["go", "mod", "download", "-json", wanted], check=True, capture_output=True, text=True)
    source = json.loads(download.stdout)["Dir"]
    here = Path(__file__).parent / "apitypes"
    listing = subprocess.run(
        ["go", "run", ".", source, *WITH_FIELDS], cwd=here, check=True, capture_output=True, text=True
    )
    triples = set()
    for line in listing.stdout.splitlines():
        api_version, kind, *path = line.split(" ")
        if (parse(release).minor_text, api_version, kind) not in WITHOUT_EFFECT:
            triples.add((api_version, kind, "".join(path)))
    return triples


def render(releases: dict[str, set[tuple[str, str, str]]]) -> str:
    """The table as YAML text; `releases` is in ascending order."""
    minors = [parse(release).minor_text for release in releases]
    ranges: dict[tuple[str, str, str], str] = {}
    for triple in sorted(set().union(*releases.values())):
        having = [minor for minor, triples in zip(minors, releases.values(), strict=True) if triple in triples]
        first, last = minors.index(having[0]), minors.index(having[-1])
        if last - first + 1 != len(having):
            raise SystemExit(f"{triple} was taken away and came back: {having}; the table cannot say that")
        ranges[triple] = f"{having[0]}-" + ("" if having[-1] == minors[-1] else having[-1])
    lines = [_HEAD + f"tabulated: [{', '.join(releases)}]", "kinds:"]
    for api_version in sorted({triple[0] for triple in ranges}):
        lines.append(f"  {api_version}:")
        for kind in sorted({triple[1] for triple in ranges if triple[0] == api_version}):
            lines += [f"    {kind}:", f"      served: {ranges[api_version, kind, '']}"]
            fields: dict[str, list[str]] = defaultdict(list)
            for (_version, _kind, path), span in ranges.items():
                if (_version, _kind) == (api_version, kind) and path:
                    fields[span].append(path)
            if fields:
                lines.append("      fields:")
            for span in sorted(fields, key=lambda text: [int(part) for part in text.split("-")[0].split(".")]):
                lines.append(f"        {span}:")
                lines += [f"          - {path}" for path in fields[span]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    table = render({release: types_of(release) for release in RELEASES})
    Path(__file__).with_name("api.yaml").write_text(table, encoding="utf-8")
