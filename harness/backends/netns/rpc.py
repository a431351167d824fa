"""One request, one reply: how the test process talks to its lab host over a UNIX socket.

Both are JSON lines. A reply may carry one file descriptor (SCM_RIGHTS): a socket made in one of the lab's namespaces,
which the test process then uses as its own, without a helper process in between.
"""

from __future__ import annotations

import array
import json
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import LabError, MissingCapability

_MAX_LINE = 1 << 22

#: An operation: its arguments in, its result and perhaps a file descriptor out.
Operation = Callable[[dict[str, Any]], "tuple[Any, int | None]"]


class Server:
    """Serves operations to every client, one thread a connection."""

    def __init__(self, path: Path, operations: dict[str, Operation]) -> None:
        self._operations = operations
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # under its own name only when it listens: whoever finds it may connect
        draft = path.with_suffix(".new")
        self._listener.bind(str(draft))
        self._listener.listen(64)
        draft.rename(path)
        threading.Thread(target=self._accept, daemon=True, name="rpc").start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    self._answer(connection, json.loads(line))
            except (BrokenPipeError, ConnectionResetError):
                return  # the client has gone; nobody is left to tell

    def _answer(self, connection: socket.socket, request: dict[str, Any]) -> None:
        descriptor: int | None = None
        try:
            operation = self._operations[request.pop("op")]
            result, descriptor = operation(request)
            reply: dict[str, Any] = {"result": result}
        except MissingCapability as error:
            reply = {"missing": error.message, "hint": error.hint}
        except Exception as error:  # whatever went wrong belongs to the caller, who raises it as a LabError
            reply = {"error": str(error) or type(error).__name__}
        data = json.dumps(reply).encode() + b"\n"
        if descriptor is None:
            connection.sendall(data)
            return
        with socket.socket(fileno=descriptor):  # closes our copy when it has been sent
            sent = connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
            connection.sendall(data[sent:])


class Client:
    """Connections to a lab host; threads do not wait for one another's answers, as each exchange has one to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def call(self, op: str, **arguments: Any) -> Any:
        """Ask for an operation and give back its result.

        Raises:
            LabError: with the lab host's own words, or that it has gone.
            MissingCapability: when the machine lacks what the operation needs.
        """
        result, _ = self._exchange({"op": op, **arguments})
        return result

    def descriptor(self, op: str, **arguments: Any) -> int:
        """Ask for an operation that hands over a file descriptor; the caller owns it."""
        _, descriptor = self._exchange({"op": op, **arguments})
        if descriptor is None:
            raise LabError(f"the lab host sent no descriptor for {op}")
        return descriptor

    def _exchange(self, request: dict[str, Any]) -> tuple[Any, int | None]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.connect(str(self._path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            line, descriptor = _line(connection)
        except OSError as error:
            if connection is not None:
                connection.close()
            raise LabError(f"the lab host does not answer ({error.strerror or error}): the lab has ended") from error
        with self._lock:
            self._idle.append(connection)
        reply = json.loads(line)
        if "missing" in reply:
            raise MissingCapability(reply["missing"], hint=reply["hint"])
        if "error" in reply:
            raise LabError(reply["error"])
        return reply["result"], descriptor

    def peer_pid(self) -> int:
        """PID of the lab host as this process sees it (SO_PEERCRED, unix(7))."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except OSError as error:
                raise LabError(f"the lab host does not answer ({error.strerror}): the lab has ended") from error
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid: int = struct.unpack("3i", credentials)[0]
            return pid

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()


def _line(connection: socket.socket) -> tuple[bytes, int | None]:
    """Read the one line that answers a request, and the descriptor that came with it."""
    descriptor, line = None, b""
    while not line.endswith(b"\n"):
        data, descriptors, _, _ = socket.recv_fds(connection, _MAX_LINE, 1)
        if not data:
            raise ConnectionResetError("connection closed")
        if descriptors:
            descriptor = descriptors[0]
        line += data
    return line, descriptor
