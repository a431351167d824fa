"""A client, a router and a server with real lablets, in namespaces of their own: what the tests of the prober stand on.

Run as a program it is PID 1 of `unshare`; it obeys one JSON command a line and ends with its standard input, and the
kernel then removes everything. `ProbeLab` is the side of the test process.

    client 10.1.0.2 --- 10.1.0.1 router 10.2.0.1 --- 10.2.0.2 server (port 7777)
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

PORT = 7777
SERVER = f"10.2.0.2:{PORT}"
PLACES = ("client", "router", "server")


class Stamp(NamedTuple):
    """A change of the packet filter took effect between these two readings of CLOCK_MONOTONIC."""

    before: int
    after: int

    @property
    def middle(self) -> int:
        return (self.before + self.after) // 2


class ProbeLab:
    """Namespaces `client`, `router` and `server`, and programs in them."""

    def __init__(self, lablet: Path, folder: Path) -> None:
        self.lablet = lablet
        self.folder = folder
        # With root no user namespace is needed, and the prober may use real-time scheduling, as in a lab.
        kinds = "-nmp" if os.geteuid() == 0 else "-Urnmp"
        self.host = subprocess.Popen(
            ["unshare", kinds, "--fork", "--kill-child", "--mount-proc", sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask("build")

    def ask(self, what: str, **arguments: Any) -> Any:
        assert self.host.stdin is not None
        assert self.host.stdout is not None
        self.host.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self.host.stdin.flush()
        line = self.host.stdout.readline()
        if not line:
            raise RuntimeError(f"the host of the namespaces ended with {self.host.wait(5)}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def start(self, name: str, place: str, *arguments: str) -> None:
        """Start a lablet in a namespace."""
        self.ask("start", name=name, place=place, argv=[str(self.lablet), *arguments])

    def serve(self, name: str = "pod") -> Path:
        """Start the server and return its control socket once it answers."""
        control = self.folder / f"{name}.sock"
        listen = ("--listen", f"tcp/{PORT}", "--listen", f"udp/{PORT}")
        self.start(
            name, "server", "serve", "--node", "n1", "--pod", f"default/{name}", *listen, "--control", str(control)
        )
        return control

    def probe(self, name: str, *arguments: str) -> Path:
        """Start a prober; its records are in the file."""
        out = self.folder / f"{name}.records"
        self.start(name, "client", "probe", "--to", SERVER, "--out", str(out), *arguments)
        return out

    def tap(self, name: str = "tap") -> Path:
        out = self.folder / f"{name}.records"
        self.start(name, "server", "tap", "--iface", "eth0", "--out", str(out))
        return out

    def cut(self, rule: str) -> Stamp:
        """Add a rule to the router's forwarding."""
        return Stamp(*self.ask("nft", command=f"add rule inet probe forward {rule}"))

    def heal(self) -> Stamp:
        """Remove all rules."""
        return Stamp(*self.ask("nft", command="flush chain inet probe forward"))

    def cut_for(self, seconds: float, rule: str) -> tuple[Stamp, Stamp]:
        """Cut and heal again; the call returns when it is healed."""
        began = self.cut(rule)
        self.pause(seconds)
        return began, self.heal()

    def pause(self, seconds: float) -> None:
        """Let traffic flow: the passing of time is what is being measured here."""
        threading.Event().wait(seconds)

    def kill(self, name: str) -> int:
        """SIGKILL; gives the time when the process was gone."""
        self.ask("signal", name=name, number=int(signal.SIGKILL))
        self.ask("wait", name=name)
        return time.monotonic_ns()

    def end(self, name: str) -> None:
        """SIGTERM, and wait; a program that does not end well is an error."""
        self.ask("signal", name=name, number=int(signal.SIGTERM))
        self.wait(name)

    def wait(self, name: str) -> None:
        code = self.ask("wait", name=name)
        assert code == 0, f"{name} ended with {code}"

    def close(self) -> None:
        assert self.host.stdin is not None
        self.host.stdin.close()
        self.host.wait(5)


def reason_to_skip() -> str | None:
    """Why these namespaces cannot be made on this machine; None when they can."""
    kinds = "-nmp" if os.geteuid() == 0 else "-Urnmp"
    tried = subprocess.run(["unshare", kinds, "--fork", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"namespaces cannot be made here: {tried.stderr.strip()}"
    try:
        ctypes.CDLL("libnftables.so.1")
    except OSError:
        return "libnftables is not installed: nothing to cut a path with"
    return None


class _Host:
    """The inner side, PID 1 of the namespaces."""

    def __init__(self) -> None:
        self.holders: dict[str, subprocess.Popen[bytes]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.nftables: Any = None

    def build(self) -> None:
        for place in PLACES:
            holder = subprocess.Popen(
                ["unshare", "-n", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE
            )
            assert holder.stdout is not None
            holder.stdout.readline()  # it is in its namespace now
            self.holders[place] = holder
        client, router, server = (str(self.holders[place].pid) for place in PLACES)
        self.shell(f"ip link add eth0 netns {client} type veth peer name lan netns {router}")
        self.shell(f"ip link add eth0 netns {server} type veth peer name servers netns {router}")
        addresses = {
            "client": ["eth0 10.1.0.2/24"],
            "router": ["lan 10.1.0.1/24", "servers 10.2.0.1/24"],
            "server": ["eth0 10.2.0.2/24"],
        }
        for place, devices in addresses.items():
            self.shell("ip link set lo up", place)
            for text in devices:
                device, address = text.split()
                self.shell(f"ip link set {device} up && ip address add {address} dev {device}", place)
        self.shell("ip route add default via 10.1.0.1", "client")
        self.shell("ip route add default via 10.2.0.1", "server")
        self.shell("echo 1 > /proc/sys/net/ipv4/ip_forward", "router")
        self.nft("add table inet probe; add chain inet probe forward { type filter hook forward priority 0 ; }")

    def shell(self, command: str, place: str | None = None) -> str:
        enter = [] if place is None else ["nsenter", "-t", str(self.holders[place].pid), "-n"]
        return subprocess.run([*enter, "sh", "-ec", command], check=True, capture_output=True, text=True).stdout

    def start(self, name: str, place: str, argv: list[str]) -> None:
        enter = ["nsenter", "-t", str(self.holders[place].pid), "-n"]
        self.processes[name] = subprocess.Popen([*enter, *argv], stdout=subprocess.DEVNULL)

    def signal(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)

    def wait(self, name: str) -> int:
        return self.processes[name].wait(120)

    def nft(self, command: str) -> tuple[int, int]:
        """Change the router's packet filter from this process: the call is one netlink transaction, 1 ms or so."""
        if self.nftables is None:
            library = ctypes.CDLL("libnftables.so.1")
            library.nft_ctx_new.restype = ctypes.c_void_p
            run = library.nft_run_cmd_from_buffer
            run.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            with (
                open(f"/proc/{self.holders['router'].pid}/ns/net", "rb") as inner,
                open("/proc/self/ns/net", "rb") as own,
            ):
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.setns(inner.fileno(), 0) == 0
                context = library.nft_ctx_new(0)  # its netlink socket stays in the router's namespace
                assert libc.setns(own.fileno(), 0) == 0
            self.nftables = lambda text: run(context, text)
        text = command.encode()
        before = time.monotonic_ns()
        code = self.nftables(text)
        after = time.monotonic_ns()
        if code != 0:
            raise RuntimeError(f"nft refused: {command}")
        return before, after


def _main() -> None:
    host = _Host()
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            answer = {"result": getattr(host, arguments.pop("what"))(**arguments)}
        except (OSError, RuntimeError, KeyError, AssertionError, subprocess.SubprocessError) as error:
            detail = getattr(error, "stderr", "") or ""
            answer = {"error": f"{type(error).__name__}: {error} {detail}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
