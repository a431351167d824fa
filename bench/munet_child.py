"""Run by munet's own Python: brings a topology up and waits for the daemons that its nodes start (see bench.munet).

    python munet_child.py FILE

FILE holds JSON: `munet`, munet's configuration, and `sockets`, UNIX sockets that its nodes will listen on. Prints one
JSON object in seconds since the start of this program: `topology`, when munet had made namespaces and links; `ready`,
when all sockets accepted connections; `deleted`, how long taking it down took.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

START = time.monotonic()
#: Seconds between two looks at a socket, as in harness.wait.
LOOK_EVERY = 0.01
#: Seconds for everything to come up.
WITHIN = 30.0


def accepts(path: str) -> bool:
    """Whether something listens on a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


async def measure(config: dict[str, Any], sockets: list[str], folder: Path) -> dict[str, float]:
    """Bring the topology up, wait for the sockets, take it down."""
    from munet.parser import async_build_topology  # type: ignore[import-not-found]  # lblab's Python does not have it

    unet = await async_build_topology(config=config, rundir=str(folder / "run"))
    seconds = {"topology": time.monotonic() - START}
    tasks = await unet.run()
    never = asyncio.Event()  # munet's own tasks go on while this one waits
    try:
        while not all(map(accepts, sockets)):
            if time.monotonic() - START > WITHIN:
                raise TimeoutError(f"no answer from {[path for path in sockets if not accepts(path)]}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), LOOK_EVERY)
        seconds["ready"] = time.monotonic() - START
    finally:
        began = time.monotonic()
        for task in tasks:
            task.cancel()
        await unet.async_delete()
        seconds["deleted"] = time.monotonic() - began
    return seconds


if __name__ == "__main__":
    file = Path(sys.argv[1])
    content = json.loads(file.read_text())
    print(json.dumps(asyncio.run(measure(content["munet"], content["sockets"], file.parent))))
