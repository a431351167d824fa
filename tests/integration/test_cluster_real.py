"""The Kubernetes client against a real kube-apiserver and etcd, on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import ApiAway, Cluster, condition, gone
from harness.errors import UserError
from harness.wait import until

WIDGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "deprecated": True,
                "deprecationWarning": "example.com/v1 Widget is old",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1},
                                    "parts": {
                                        "type": "array",
                                        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                                    },
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}


def widget(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


def kube() -> Path:
    """The multi-call program: $LBLAB_KUBE, or one that a build has left in the cache."""
    if named := os.environ.get("LBLAB_KUBE"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lblab"
    found = [path for path in sorted(cache.glob("**/kube*/kube")) if os.access(path, os.X_OK) and path.is_file()]
    if not found:
        pytest.skip("kube is not built: `lblab build kube`, or name it in LBLAB_KUBE")
    return found[-1]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """etcd and kube-apiserver as plain processes."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = str(program), folder
        self._client, peer, self._port = free_port(), free_port(), free_port()
        (folder / "tokens").write_text('token,admin,1,"system:masters"\n')
        subprocess.run(["openssl", "genrsa", "-out", folder / "sa.key", "2048"], check=True, capture_output=True)
        etcd = f"--data-dir={folder}/etcd --unsafe-no-fsync --listen-peer-urls=http://127.0.0.1:{peer}"
        urls = f"--listen-client-urls={self._etcd} --advertise-client-urls={self._etcd}"
        self._running = [self._start("etcd", f"{etcd} {urls}")]
        self.start_api_server()

    @property
    def _etcd(self) -> str:
        return f"http://127.0.0.1:{self._client}"

    def _start(self, name: str, options: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen([self._program, name, *options.split()], stdout=log, stderr=log)

    def start_api_server(self) -> None:
        keys = (
            f"--service-account-key-file={self._folder}/sa.key --service-account-signing-key-file={self._folder}/sa.key"
        )
        self.api = self._start(
            "kube-apiserver",
            f"--etcd-servers={self._etcd} --bind-address=127.0.0.1 --advertise-address=127.0.0.1 "
            f"--secure-port={self._port} --cert-dir={self._folder} --token-auth-file={self._folder}/tokens "
            f"--authorization-mode=AlwaysAllow --service-account-issuer=https://lab "
            f"--service-cluster-ip-range=10.96.0.0/16 --disable-admission-plugins=ServiceAccount {keys}",
        )
        self._running.append(self.api)

    def kubeconfig(self) -> Path:
        certificate = self._folder / "apiserver.crt"
        until("the API server's certificate", certificate.exists, within=60)
        cluster = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": "apiserver.crt"}
        document = {
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": {"token": "token"}}],
        }
        path = self._folder / "kubeconfig"
        path.write_text(json.dumps(document))
        return path

    def stop(self) -> None:
        for process in reversed(self._running):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(kube(), tmp_path_factory.mktemp("kube"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def cluster(server: Server) -> Cluster:
    made = Cluster(server.kubeconfig())
    made.wait_ready(60)
    return made


def test_the_server_is_trusted_by_its_certificate_only(server: Server, cluster: Cluster, tmp_path: Path) -> None:
    document = json.loads(cluster.kubeconfig.read_text())
    del document["clusters"][0]["cluster"]["certificate-authority"]
    foreign = tmp_path / "kubeconfig"
    foreign.write_text(json.dumps(document))
    with pytest.raises(ApiAway, match="certificate verify failed"):
        Cluster(foreign).version()
    assert cluster.version().startswith("v1.")


def test_a_kind_is_applied_right_after_its_definition(cluster: Cluster) -> None:
    applied = cluster.apply([widget(size=2), WIDGETS], within=10)
    assert [a.kind for a in applied] == ["CustomResourceDefinition", "Widget"]
    assert applied[1].warnings == ("example.com/v1 Widget is old",)
    assert cluster.wait("crd", "widgets.example.com", condition("Established"), within=5)


@pytest.mark.parametrize(
    ("yaml", "line", "sentence"),
    [
        ("spec:\n  siz: 1\n", 5, "has a field that is not served here: spec.siz"),
        ("spec:\n  parts:\n  - name: a\n  - nam: b\n", 7, "has a field that is not served here: spec.parts[1].nam"),
        ("spec:\n  size: 0\n", 5, "is refused: spec.size: Invalid value: 0"),
        ("spec:\n  size: big\n", 5, "is refused: .spec.size: expected numeric (int or float), got string"),
    ],
)
def test_what_a_definition_does_not_allow_is_named_with_its_line(
    cluster: Cluster, tmp_path: Path, yaml: str, line: int, sentence: str
) -> None:
    cluster.apply(WIDGETS)
    cluster.wait("crd", "widgets.example.com", condition("Established"), within=5)
    manifest = tmp_path / "w.yaml"
    manifest.write_text("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: v}\n" + yaml)
    with pytest.raises(UserError) as caught:
        cluster.apply(manifest)
    assert caught.value.line == line
    assert sentence in caught.value.message


def test_what_a_service_does_not_allow_is_named_with_its_line(cluster: Cluster, tmp_path: Path) -> None:
    manifest = tmp_path / "s.yaml"
    head = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n"
    manifest.write_text(head + "  - {port: 80, name: a}\n  - port: 81\n    prot: UDP\n")
    with pytest.raises(UserError, match=r"s\.yaml:8: .*spec\.ports\[1\]\.prot"):
        cluster.apply(manifest)
    manifest.write_text(head + "  - port: 99999\n")
    with pytest.raises(UserError, match=r"s\.yaml:6: .*99999: must be between 1 and 65535"):
        cluster.apply(manifest)
    manifest.write_text("apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  namespace: nowhere\n")
    with pytest.raises(UserError, match=r"s\.yaml:5: .*'nowhere', which does not exist"):
        cluster.apply(manifest)


def test_label_scale_patch_and_delete(cluster: Cluster) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    cluster.apply(web)
    cluster.scale("deploy", "web", 3)
    assert cluster.get("deployment", "web")["spec"]["replicas"] == 3
    assert cluster.label("deploy", "web", {"io.cilium/bgp": "worker"})["metadata"]["labels"] == {
        "io.cilium/bgp": "worker"
    }
    assert "labels" not in cluster.label("deploy", "web", {"io.cilium/bgp": None})["metadata"]
    assert cluster.delete(web) == ["Deployment default/web"]
    assert not cluster.exists("deploy", "web")


def test_delete_waits_for_finalizers(cluster: Cluster) -> None:
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    cluster.apply(held)
    assert cluster.delete(held, wait=False) == ["ConfigMap default/held"]
    assert cluster.get("cm", "held")["metadata"]["deletionTimestamp"]
    cluster.patch("cm", "held", {"metadata": {"finalizers": None}})
    cluster.wait("cm", "held", gone, within=5)


def test_a_wait_outlives_a_restart_of_the_api_server(server: Server, cluster: Cluster) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "before"}})
    server.api.kill()
    server.api.wait()
    with pytest.raises(ApiAway):
        cluster.get("cm", "before")
    server.start_api_server()
    assert cluster.wait("cm", "before", lambda found: found is not None, within=60)
    cluster.wait_ready(30)


@pytest.mark.timing
def test_calls_are_cheap(cluster: Cluster) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "quick"}}
    taken = []
    for number in range(20):
        start = time.monotonic()
        cluster.apply({**config, "data": {"number": str(number)}})
        taken.append(time.monotonic() - start)
    assert sorted(taken)[10] < 0.05, "an apply costs a few milliseconds (median of 20; wide for a loaded machine)"
