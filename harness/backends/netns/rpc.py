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

from harness.errors import LabError

_MAX_LINE = 1 << 22

#: An operation: its arguments in, its result and perhaps a file descriptor out.
Operation = Callable[[dict[str, Any]], "tuple[Any, int | None]"]


class Server:
    """Serves operations to every client, one thread a connection."""

    def __init__(self, path: Path, operations: dict[str, Operation]) -> None:
        self._operations = operations
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
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
    """A connection to a lab host; may be used from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._buffer = b""

    def call(self, op: str, **arguments: Any) -> Any:
        """Ask for an operation and give back its result.

        Raises:
            LabError: with the lab host's own words, or that it has gone.
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
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    self._socket.connect(str(self._path))
                self._socket.sendall(json.dumps(request).encode() + b"\n")
                line, descriptor = self._line(self._socket)
            except OSError as error:
                self.close()
                raise LabError(
                    f"the lab host does not answer ({error.strerror or error}): the lab has ended"
                ) from error
        reply = json.loads(line)
        if "error" in reply:
            raise LabError(reply["error"])
        return reply["result"], descriptor

    def _line(self, connection: socket.socket) -> tuple[bytes, int | None]:
        descriptor = None
        while b"\n" not in self._buffer:
            data, descriptors, _, _ = socket.recv_fds(connection, _MAX_LINE, 1)
            if not data:
                raise ConnectionResetError("connection closed")
            if descriptors:
                descriptor = descriptors[0]
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line, descriptor

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
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._buffer = b""
