"""Running the Go command: its output is watched line by line, kept in a log, and it never outlives lblab."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.binaries import explain
from harness.binaries.display import Display
from harness.binaries.toolchain import Go

#: Seconds without output after which the display is moved on.
_IDLE = 1.0
#: Seconds in which a Go command that was interrupted removes its work folder.
_ENDS_WITHIN = 5.0

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Result:
    """What a command did.

    Attributes:
        code: Its exit code.
        stdout: What it wrote to standard output.
        stderr: What it wrote to standard error.
    """

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Command:
    """The Go command in one module, for one program.

    Attributes:
        go: Which Go.
        folder: The module's folder.
        what: What is being built, as "cilium 1.18.0".
        log: Where everything it writes to standard error is added.
        display: Is told how far it is.
    """

    go: Go
    folder: Path
    what: str
    log: Path
    display: Display

    def run(self, args: Sequence[str], progress: Callable[[str], None], idle: Callable[[], None]) -> Result:
        """Run it.

        Args:
            args: Its arguments.
            progress: Given each line of standard error.
            idle: Called about every second, whether lines come or not.
        """
        errors: list[str] = []
        with tempfile.TemporaryFile("w+") as out, self.log.open("a") as log:
            log.write(f"$ go {' '.join(args)}\n")
            process = subprocess.Popen(
                [self.go.path, *args],
                cwd=self.folder,
                env=self.go.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                preexec_fn=end_with_parent,
                start_new_session=True,
            )
            try:
                for line in _lines(process, idle):
                    log.write(line + "\n")
                    errors.append(line)
                    progress(line)
            finally:
                _end(process)
            out.seek(0)
            text = out.read()
            if process.returncode:
                log.write(text)
            return Result(process.returncode, text, "\n".join(errors))

    def list_packages(self, flags: Sequence[str], packages: Sequence[str] = (".",)) -> Result:
        """Download the modules that the program needs and find the packages that are still to be compiled.

        Args:
            flags: Of `go build`.
            packages: The main packages that are going to be built.

        Returns:
            The command's result; standard output has one line for each package.
        """
        modules = 0

        def progress(line: str) -> None:
            nonlocal modules
            modules += line.startswith("go: downloading")

        self.display.step(f"{self.what}: fetching modules")
        # Stale: neither in the build cache nor installed, so this build will compile it
        template = "{{if .Stale}}{{.ImportPath}}{{end}}"
        args = ["list", *flags, "-deps", "-f", template, *packages]
        return self.run(args, progress, lambda: self.display.advance(modules, None))

    def build(self, flags: Sequence[str], target: Path, total: int, packages: Sequence[str] = (".",)) -> None:
        """Compile and link.

        Args:
            flags: Of `go build`.
            target: The program; for several packages the folder that they go to, under their own names.
            total: How many packages are going to be compiled.
            packages: The main packages.

        Raises:
            UserError: It fails; the message says why and where the log is.
        """
        compiled = 0

        def progress(line: str) -> None:
            nonlocal compiled
            # -v names each package when its compilation starts
            if not line or " " in line or line.startswith("#"):
                return
            compiled += 1
            idle()
            if compiled == total:  # the last one is the program itself; the linker says nothing
                self.display.step(f"{self.what}: linking")

        def idle() -> None:
            self.display.advance(compiled, total)

        self.display.step(f"{self.what}: compiling packages")
        done = self.run(["build", "-v", *flags, "-o", str(target), *packages], progress, idle)
        if done.code:
            raise explain.failure(self.what, done.stderr, self.log)


def ask(go: Go, *args: str, folder: Path = Path("/")) -> Result:
    """Run a Go command that answers at once."""
    done = subprocess.run(
        [go.path, *args], cwd=folder, env=go.environment(), capture_output=True, text=True, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


def _lines(process: subprocess.Popen[bytes], idle: Callable[[], None]) -> Iterator[str]:
    """The lines of a process's standard error as they come; `idle` is called in between."""
    assert process.stderr is not None
    rest = b""
    with selectors.DefaultSelector() as selector, process.stderr:
        selector.register(process.stderr, selectors.EVENT_READ)
        while True:
            if not selector.select(_IDLE):
                idle()
                continue
            data = os.read(process.stderr.fileno(), 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")
    while process.poll() is None:  # it has closed its output and is about to end
        try:
            process.wait(_IDLE)
        except subprocess.TimeoutExpired:
            idle()


def end_with_parent() -> None:
    """In a process that has just been forked: be interrupted when the parent ends, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
