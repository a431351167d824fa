"""Talking to FRR's daemons through their vty UNIX sockets, without vtysh.

The protocol is vtysh's own: the client sends a command and a zero byte; the answer is the command's text, three zero
bytes and the return code in one byte. An answer takes 0.10 ms, `vtysh -c` 45 to 55 ms (facts/anchors.md, section 9).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import LabError

#: FRR's lib/command.h: the codes that say that a command was carried out (success, with a warning, nothing to do).
_CARRIED_OUT = frozenset({0, 1, 15})
#: Seconds to wait for an answer; FRR answers in well under a millisecond unless the machine starves it.
ANSWER_WITHIN = 5.0
#: sizeof(sockaddr_un.sun_path): a longer path must be reached through a shorter name.
_LONGEST_SOCKET_PATH = 107


class VtyError(LabError):
    """A command that FRR refused.

    Attributes:
        daemon: The daemon that was asked.
        command: The command.
        code: FRR's return code (lib/command.h: 2 no match, 3 ambiguous, 4 incomplete, 13 configuration failed, ...).
        text: What FRR said.
    """

    def __init__(self, daemon: str, command: str, code: int, text: str) -> None:
        super().__init__(f"{daemon} refused '{command}' with code {code}: {text.strip() or 'no such command'}")
        self.daemon = daemon
        self.command = command
        self.code = code
        self.text = text


class Vty:
    """The FRR daemons of one router; may be used by several threads.

    Args:
        folder: Where the sockets are: `bgpd.vty`, `zebra.vty`, ... It may lie in another mount namespace
            (`/proc/PID/root/...`).
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._connections: dict[str, socket.socket] = {}
        self._lock = threading.RLock()

    def run(self, daemon: str, command: str) -> str:
        """Let a daemon run one command in its view mode.

        Args:
            daemon: `bgpd`, `zebra`, ...
            command: For example `show bgp summary`.

        Returns:
            What the daemon printed.

        Raises:
            VtyError: when FRR refuses the command.
            OSError: when the daemon does not run (harness.wait.until takes it as "not yet").
        """
        with self._lock:
            try:
                code, text = self._exchange(self._connection(daemon), command)
            except (BrokenPipeError, ConnectionResetError, EOFError):
                # The daemon has been started anew since the last command; a `show` can be asked again.
                self._drop(daemon)
                try:
                    code, text = self._exchange(self._connection(daemon), command)
                except EOFError as error:
                    self._drop(daemon)
                    raise ConnectionResetError(f"{daemon} closed its vty during '{command}'") from error
            except OSError:
                self._drop(daemon)
                raise
            if code not in _CARRIED_OUT:
                raise VtyError(daemon, command, code, text)
            return text

    def show_json(self, daemon: str, command: str) -> Any:
        """Run a `show ... json` command and read its answer; None when FRR answers with nothing."""
        text = self.run(daemon, command if "json" in command.split() else f"{command} json")
        return json.loads(text) if text.strip() else None

    def configure(self, daemon: str, lines: Sequence[str]) -> None:
        """Change a daemon's running configuration, line by line, as `vtysh -c 'configure terminal' -c ...` does.

        Raises:
            VtyError: at the first line that FRR refuses; the lines before it are in effect.
            OSError: when the daemon does not run.
        """
        with self._lock:
            self._drop(daemon)  # a connection of its own: the mode is part of the connection
            try:
                for line in ("enable", "configure terminal", *lines, "end"):
                    code, text = self._exchange(self._connection(daemon), line)
                    if code not in _CARRIED_OUT:
                        raise VtyError(daemon, line, code, text)
            except EOFError as error:
                raise ConnectionResetError(f"{daemon} closed its vty during its configuration") from error
            finally:
                self._drop(daemon)

    def close(self) -> None:
        """Close the connections; the next command opens them again."""
        with self._lock:
            for daemon in list(self._connections):
                self._drop(daemon)

    def __enter__(self) -> Vty:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connection(self, daemon: str) -> socket.socket:
        connection = self._connections.get(daemon)
        if connection is None:
            connection = _connect(self.folder / f"{daemon}.vty")
            self._connections[daemon] = connection
            # The mode that vtysh works in; without it `show running-config` and `clear` do not exist.
            self._exchange(connection, "enable")
        return connection

    def _drop(self, daemon: str) -> None:
        connection = self._connections.pop(daemon, None)
        if connection is not None:
            connection.close()

    @staticmethod
    def _exchange(connection: socket.socket, command: str) -> tuple[int, str]:
        connection.sendall(command.encode() + b"\0")
        answer = bytearray()
        while True:
            part = connection.recv(65536)
            if not part:
                raise EOFError
            answer += part
            # The text itself holds no zero byte; three of them and the code end it.
            if len(answer) >= 4 and answer[-4:-1] == b"\0\0\0":
                return answer[-1], answer[:-4].decode(errors="replace")


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_WITHIN)
    try:
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
            connection.connect(str(path))
        else:
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
    except OSError:
        connection.close()
        raise
    return connection
