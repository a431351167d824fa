"""The FRR of an image: where its daemons are, which version, what it can do; asked of a container of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.routing import daemons
from harness.routing.daemons import Frr

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Tells the folder of the daemons, the version, the daemons that take a file, and whether bgpd has a BMP module.
_LOOK = """
for folder in {folders}; do [ -x $folder/bgpd ] && break; done
[ -x $folder/bgpd ] || exit 3
echo "folder $folder"
echo "version $($folder/zebra --version | head -n 1)"
for daemon in zebra bgpd bfdd staticd; do
  $folder/$daemon --help 2>&1 | grep -q -- --config_file && echo "reads $daemon"
done
[ -x $folder/mgmtd ] && echo "mgmtd yes"
for module in {modules}; do [ -e $module/bgpd_bmp.so ] && echo "bmp yes"; done
true
"""


def of_container(container: Container, image: str) -> Frr:
    """Look at the FRR in a running container.

    Raises:
        UserError: the image has none that lblab knows how to run.
    """
    script = _LOOK.format(folders=" ".join(daemons.FOLDERS), modules=" ".join(daemons.MODULE_FOLDERS))
    done = container.exec_run(["sh", "-c", script])
    said = [line.split(" ", 1) for line in done.output.decode(errors="replace").splitlines() if " " in line]
    facts = {key: value for key, value in said if key in ("folder", "version", "mgmtd", "bmp")}
    found = re.search(r"version (\d+(?:\.\d+)*)", facts.get("version", ""))
    if done.exit_code != 0 or "folder" not in facts or found is None:
        raise UserError(f"the image {image} has no FRR that lblab can run", hint="--frr-image with an image of FRR")
    version = tuple(int(part) for part in found[1].split("."))
    return Frr(
        folder=Path(facts["folder"]),
        version=version,
        bmp="bmp" in facts and version < daemons.BMP_CRASHES_SINCE,
        reads_file=frozenset(value for key, value in said if key == "reads"),
        mgmtd="mgmtd" in facts,
    )


def check(container: Container, frr: Frr, file: Path) -> None:
    """Let the FRR of a container read a user's configuration without running it.

    Raises:
        UserError: at the first line that it does not know.
    """
    # the file is the machine's: its text goes over as an argument
    script = 'printf %s "$0" > /tmp/lblab-frr.conf && vtysh -C -f /tmp/lblab-frr.conf'
    done: Any = container.exec_run(["sh", "-c", script, file.read_text()])
    daemons.complain(done.output.decode(errors="replace"), frr.version, file)
