"""Two or more FRR routers on one segment, in namespaces of their own: what the tests of harness/routing stand on.

Run as a program it is PID 1 of `unshare -Urnmp`; it obeys one JSON command a line and ends with its standard input, and
the kernel then removes everything. `FrrLab` is the side of the test process.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.routing.daemons import RouterDaemons, lab_needs, router_daemons
from harness.routing.vty import Vty
from harness.wait import until

DEVICE = "vlan0130"


class FrrLab:
    """Routers `r1`, `r2`, ... of the configurations given, with 10.0.0.1/24, 10.0.0.2/24, ... on vlan0130."""

    def __init__(self, folder: Path, configs: Mapping[str, str]) -> None:
        self.needs = lab_needs(folder)
        self.routers: dict[str, RouterDaemons] = {}
        for name, config in configs.items():
            (folder / name).mkdir(parents=True)
            self.routers[name] = router_daemons(name, config, folder / name)
        self.vty = {name: Vty(router.vty) for name, router in self.routers.items()}
        for path, text in self.needs.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.sockets, inner = socket.socketpair()
        with inner:
            self.host = subprocess.Popen(
                [
                    *("unshare", "-Urnmp", "--fork", "--kill-child", "--mount-proc"),
                    *(sys.executable, __file__, str(inner.fileno())),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[inner.fileno()],
            )
        self.folder = folder
        mounts = [(mount.kind, str(mount.source or ""), str(mount.target)) for mount in self.needs.mounts]
        self.ask("mount", mounts=mounts, folders=[str(path) for path in self.needs.folders])
        for number, name in enumerate(self.routers, start=1):
            self.ask("router", name=name, address=f"10.0.0.{number}/24", address6=f"fd00::{number}/64", device=DEVICE)

    def ask(self, what: str, **arguments: Any) -> Any:
        assert self.host.stdin is not None
        assert self.host.stdout is not None
        self.host.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self.host.stdin.flush()
        answer = json.loads(self.host.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def start(self, router: str, *names: str) -> float:
        """Start daemons (all when none is named), each after those it needs; gives the seconds until all answer."""
        plan = self.routers[router]
        for path, text in plan.files.items():
            path.write_text(text)
        began = time.monotonic()
        daemons = [daemon for daemon in plan.daemons if not names or daemon.name in names]
        for daemon in daemons:
            for earlier in daemon.after:
                until(f"{router} {earlier} to be ready", plan[earlier].ready.is_socket, within=5, every=0.001)
            log = str(self.folder / router / f"{daemon.name}.log")
            self.ask("start", router=router, daemon=daemon.name, argv=daemon.argv, log=log)
        for daemon in daemons:
            show = partial(self.vty[router].run, daemon.name, "show version")
            until(f"{router} {daemon.name} to answer", show, within=5, every=0.002)
        return time.monotonic() - began

    def kill(self, router: str, daemon: str, number: int = signal.SIGKILL) -> None:
        self.ask("kill", router=router, daemon=daemon, number=number)

    def shell(self, router: str, command: str) -> str:
        """Run a shell command in a router's network namespace."""
        return str(self.ask("shell", router=router, command=command))

    def listen(self, router: str, port: int) -> socket.socket:
        """Open a listening socket on 127.0.0.1 in a router's network namespace."""
        self.ask("listen", router=router, port=port)
        _, (fd,), _, _ = socket.recv_fds(self.sockets, 1, 1)
        return socket.socket(fileno=fd)

    def log(self, router: str, daemon: str) -> str:
        return (self.folder / router / f"{daemon}.log").read_text()

    def close(self) -> None:
        for vty in self.vty.values():
            vty.close()
        assert self.host.stdin is not None
        self.host.stdin.close()
        self.sockets.close()
        self.host.wait(5)


class _Host:
    """The inner side, PID 1 of the namespaces."""

    def __init__(self, sockets: int) -> None:
        self.sockets = sockets
        self.processes: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def mount(self, mounts: list[tuple[str, str, str]], folders: list[str]) -> None:
        for kind, source, target in mounts:
            how = ["--bind", source] if kind == "bind" else ["-t", "tmpfs", "tmpfs"]
            subprocess.run(["mount", *how, target], check=True)
        for folder in folders:
            Path(folder).mkdir(parents=True)
        _sh("mkdir -p /run/netns && ip link set lo up && ip link add br0 type bridge && ip link set br0 up")

    def router(self, name: str, address: str, address6: str, device: str) -> None:
        _sh(
            f"ip netns add {name} && ip link add {name} type veth peer name {device} netns {name}"
            f" && ip link set {name} master br0 up && ip -n {name} link set lo up && ip -n {name} link set {device} up"
            f" && ip -n {name} address add {address} dev {device}"
            f" && ip -n {name} address add {address6} dev {device} nodad"
        )

    def start(self, router: str, daemon: str, argv: list[str], log: str) -> int:
        with Path(log).open("ab") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", router, *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.processes[router, daemon] = process
        return process.pid

    def kill(self, router: str, daemon: str, number: int) -> int:
        process = self.processes[router, daemon]
        process.send_signal(number)
        return process.wait(10)

    def listen(self, router: str, port: int) -> None:
        argv = ["ip", "netns", "exec", router, sys.executable, "-c", _LISTEN, str(port), str(self.sockets)]
        subprocess.run(argv, check=True, pass_fds=[self.sockets])

    def stop(self, router: str, daemon: str) -> None:
        self.processes[router, daemon].send_signal(signal.SIGSTOP)

    def shell(self, router: str, command: str) -> str:
        return subprocess.run(
            ["ip", "netns", "exec", router, "sh", "-c", command], check=True, capture_output=True, text=True
        ).stdout


_LISTEN = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b"."], [listening.fileno()])
"""


def _sh(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True)


def _serve() -> None:
    host = _Host(int(sys.argv[1]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"result": getattr(host, command.pop("what"))(**command)}
        except (OSError, subprocess.SubprocessError) as error:
            answer = {"error": f"{error} {getattr(error, 'stderr', '')}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
