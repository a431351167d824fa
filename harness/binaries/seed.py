"""The seed of a lab: an etcd data folder in which the API server has started once and Cilium's CRDs are served.

Registering the CRDs takes 2 s (Cilium 1.18) to 11 s (1.20), so that is done once per version, not at every start. What
belongs to one API server, such as its Service, its range of service addresses and its leases, is taken out again: a lab
may choose its own.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import wait
from harness.binaries import explain
from harness.errors import LblabError, UserError

#: Keys, or prefixes of keys that end in "/", of what the API server of the seed made for itself.
_OWN_KEYS = (
    "/registry/services/specs/default/kubernetes",
    "/registry/services/endpoints/default/kubernetes",
    "/registry/endpointslices/default/kubernetes",
    "/registry/servicecidrs/",
    "/registry/ipaddresses/",
    "/registry/ranges/",
    "/registry/masterleases/",
    "/registry/leases/",
    "/registry/events/",
)

#: Seconds in which the API server answers (2-3 s on 2 idle cores) and Cilium has registered its CRDs (2-11 s).
_READY_WITHIN = 60.0
_CRDS_WITHIN = 120.0
_ENDS_WITHIN = 20.0

#: Characters of a log line that go into an error.
_QUOTED = 300


def make(kube: Path, operator: Path, target: Path, idle: Callable[[], None] = lambda: None) -> list[str]:
    """Make the seed for one Cilium version.

    Everything listens on UNIX sockets in a folder of its own or on 127.0.0.1 with a random token; no privileges needed.

    Args:
        kube: The `kube` program.
        operator: The `cilium-operator` program.
        target: The tar to write; it holds the content of the data folder.
        idle: Called now and then while it waits.

    Returns:
        The kinds that are served, as `CiliumNode.cilium.io/v2`.

    Raises:
        UserError: A part does not start, with the end of what it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="lblab-seed-") as name:
        folder = Path(name)
        etcd = _Etcd(folder)
        with _running(etcd.command(kube), folder / "etcd.log"):
            api = _Api(folder, _free_port())
            with _running(api.command(kube, etcd), folder / "kube-apiserver.log") as process:
                try:
                    wait.until("the API server of the seed", lambda: _ready(process, api, idle), within=_READY_WITHIN)
                    _register(operator, api, folder, idle)
                    kinds = served_kinds(api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"))
                except (LblabError, OSError) as error:
                    raise _failure(error, folder) from error
            for key in _OWN_KEYS:
                etcd.delete(key)
            etcd.compact()
        _pack(etcd.data, target)
    return kinds


def served_kinds(definitions: dict[str, Any]) -> list[str]:
    """The kinds that a list of CustomResourceDefinitions serves, sorted.

    Raises:
        UserError: One of them is not established.
    """
    kinds = []
    for one in definitions["items"]:
        conditions = one.get("status", {}).get("conditions", ())
        if not any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
            raise UserError(f"the CRD {one['metadata']['name']} was not established")
        spec = one["spec"]
        kinds += [
            f"{spec['names']['kind']}.{spec['group']}/{version['name']}"
            for version in spec["versions"]
            if version["served"]
        ]
    return sorted(kinds)


@dataclass(frozen=True)
class _Etcd:
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / "client"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def command(self, kube: Path) -> list[str]:
        return [
            str(kube),
            "etcd",
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            "--advertise-client-urls=http://localhost:2379",  # must look like TCP; nobody reads it
            f"--listen-peer-urls=unix://{self.folder / 'peer'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def delete(self, key: str) -> None:
        body = {"key": _b64(key.encode())}
        if key.endswith("/"):
            body["range_end"] = _b64(key[:-1].encode() + b"0")  # "0" comes after "/"
        self._post("kv/deleterange", body)

    def compact(self) -> None:
        """Forget older revisions and give the space back, so that the seed is small."""
        revision = self._post("kv/range", {"key": _b64(b"/"), "count_only": True})["header"]["revision"]
        self._post("kv/compaction", {"revision": revision, "physical": True})
        self._post("maintenance/defragment", {})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call etcd's API (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway)."""
        connection = _UnixConnection(self.socket)
        with contextlib.closing(connection):
            connection.request("POST", f"/v3/{path}", json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != http.client.OK:
            raise OSError(f"etcd: {path}: {text.decode(errors='replace')}")
        decoded: dict[str, Any] = json.loads(text)
        return decoded


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_READY_WITHIN)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Api:
    def __init__(self, folder: Path, port: int) -> None:
        self._port = port
        self._folder = folder
        self._token = secrets.token_urlsafe(32)
        self.kubeconfig = folder / "kubeconfig"
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        _secret(folder / "service-account.key", key)
        _secret(folder / "tokens", f'{self._token},lblab,lblab,"system:masters"\n'.encode())
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "seed", "cluster": self._cluster()}],
            "users": [{"name": "seed", "user": {"token": self._token}}],
            "contexts": [{"name": "seed", "context": {"cluster": "seed", "user": "seed"}}],
            "current-context": "seed",
        }
        _secret(self.kubeconfig, json.dumps(config).encode())

    @property
    def _certificate(self) -> Path:
        return self._folder / "certificates" / "apiserver.crt"

    def _cluster(self) -> dict[str, str]:
        return {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": str(self._certificate)}

    def command(self, kube: Path, etcd: _Etcd) -> list[str]:
        key = self._folder / "service-account.key"
        return [
            str(kube),
            "kube-apiserver",
            f"--etcd-servers={etcd.url}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={self._certificate.parent}",
            f"--token-auth-file={self._folder / 'tokens'}",
            "--authorization-mode=AlwaysAllow",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        ]

    def get(self, path: str) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.read(path))
        return decoded

    def read(self, path: str) -> bytes:
        """Raises OSError while it does not answer 200."""
        context = ssl.create_default_context(cafile=str(self._certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=_READY_WITHIN, context=context)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != http.client.OK:
            raise OSError(f"the API server answers {answer.status} to {path}")
        return body


def _ready(process: subprocess.Popen[bytes], api: _Api, idle: Callable[[], None]) -> bool:
    idle()
    if process.poll() is not None:
        raise UserError(f"kube-apiserver ended with exit code {process.returncode}")
    return api.read("/readyz") == b"ok"


def _register(operator: Path, api: _Api, folder: Path, idle: Callable[[], None]) -> None:
    command = [str(operator), f"--kubeconfig={api.kubeconfig}", "--register-crds"]
    with _running(command, folder / "cilium-operator.log") as process:

        def code() -> int | None:
            idle()
            return process.poll()

        wait.until("Cilium's CRDs to be registered", code, lambda it: it is not None, within=_CRDS_WITHIN, every=0.1)
    if process.returncode:
        raise UserError(f"Cilium's CRDs could not be registered, exit code {process.returncode}")


@contextlib.contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()


def _failure(error: Exception, folder: Path) -> UserError:
    """Put the end of the log that tells most into the error: the folder it is in is about to go."""
    logs = [folder / f"{name}.log" for name in ("cilium-operator", "kube-apiserver", "etcd")]
    texts = {log.stem: log.read_text(errors="replace").strip() for log in logs if log.exists()}
    if any(explain.is_full(text) for text in texts.values()):
        return explain.no_space("the seed of etcd")
    name, text = next(((name, text) for name, text in texts.items() if text), ("", ""))
    last = f"; the last that {name} wrote: {text.splitlines()[-1][:_QUOTED]}" if text else ""
    return UserError(f"the seed of etcd could not be made: {error}{last}")


def _pack(folder: Path, target: Path) -> None:
    """Write the tar of a folder's content: no owner, no times, so that equal content gives equal tars."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return member

    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name, filter=plain)


def _secret(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
