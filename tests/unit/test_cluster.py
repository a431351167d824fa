from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_apiserver import FakeApiServer

from harness import manifests
from harness.cluster import ApiAway, Cluster, Endpoint, Event, NotFound, condition, gone
from harness.errors import LabError, UserError, WaitTimeout
from harness.wait import until

SERVICES = "/api/v1/namespaces/default/services"
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "test-lb"}, "spec": {"type": "LoadBalancer"}}


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    fake = FakeApiServer()
    yield fake
    fake.stop()


@pytest.fixture
def cluster(server: FakeApiServer, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(server.kubeconfig(tmp_path))
    yield made
    made.close()


def after(seconds: float, do: Callable[[], Any]) -> None:
    threading.Timer(seconds, do).start()


def applies(server: FakeApiServer) -> list[str]:
    return [path for method, path, query, _ in server.requests if method == "PATCH"]


def test_apply_sends_the_object_unmodified_as_strict_server_side_apply(cluster: Cluster, server: FakeApiServer) -> None:
    server.warnings = ["v1 Service is old"]
    (applied,) = cluster.apply(SERVICE)
    method, path, query, body = server.requests[-1]
    assert (method, path) == ("PATCH", f"{SERVICES}/test-lb")
    assert query == {"fieldManager": "lblab", "force": "true", "fieldValidation": "Strict"}
    assert body == SERVICE
    assert (str(applied), applied.created, applied.warnings) == (
        "Service default/test-lb",
        True,
        ("v1 Service is old",),
    )
    assert not cluster.apply(SERVICE)[0].created


def test_apply_keeps_the_order_but_for_namespaces(cluster: Cluster, server: FakeApiServer) -> None:
    there = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "games"}}
    cluster.apply([SERVICE, there, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "games"}}])
    assert applies(server) == [
        "/api/v1/namespaces/games",
        f"{SERVICES}/test-lb",
        "/api/v1/namespaces/games/pods/p",
    ]


def test_apply_takes_text_files_folders_and_lists(cluster: Cluster, tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n"
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "1.yaml").write_text(text)
    (folder / "2.json").write_text(
        '{"apiVersion": "v1", "kind": "List", "items": ['
        + "".join('{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}')
        + "]}"
    )
    assert [str(a) for a in cluster.apply(text)] == ["Service default/a", "Pod default/b"]
    assert [str(a) for a in cluster.apply(folder)] == ["Service default/a", "Pod default/b", "Node n"]
    assert [str(a) for a in cluster.apply(str(folder / "1.yaml"))] == ["Service default/a", "Pod default/b"]


@pytest.mark.parametrize(
    ("status", "detail", "line", "field"),
    [
        (500, ".spec.ports[port=81].prot: field not declared in schema", 9, "spec.ports[1].prot"),
        (400, 'strict decoding error: unknown field "spec.typ"', 5, "spec.typ"),
        (400, 'strict decoding error: unknown field "spec.ports[0].nam"', 7, "spec.ports[0].nam"),
    ],
)
def test_an_unknown_field_is_named_with_its_line(
    cluster: Cluster, server: FakeApiServer, tmp_path: Path, status: int, detail: str, line: int, field: str
) -> None:
    manifest = tmp_path / "svc.yaml"
    manifest.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  typ: LoadBalancer\n  ports:\n"
        "    - {port: 80, nam: web}\n    - port: 81\n      prot: UDP\n"
    )
    server.refuse = lambda method, path, body: (status, {"message": detail}) if method == "PATCH" else None
    with pytest.raises(UserError) as caught:
        cluster.apply(manifest)
    assert caught.value.line == line
    assert caught.value.file == str(manifest)
    assert caught.value.message == f"Service/x has a field that is not served here: {field}"


def test_an_invalid_value_is_named_with_its_line(cluster: Cluster, server: FakeApiServer, tmp_path: Path) -> None:
    manifest = tmp_path / "svc.yaml"
    manifest.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  ports:\n  - port: 99999\n")
    causes = [{"field": "spec.ports[0].port", "message": "Invalid value: 99999"}]
    answer = {"message": "Service is invalid", "reason": "Invalid", "details": {"causes": causes}}
    server.refuse = lambda method, path, body: (422, answer) if method == "PATCH" else None
    with pytest.raises(UserError, match=r"refused: spec\.ports\[0\]\.port: Invalid value: 99999") as caught:
        cluster.apply(manifest)
    assert caught.value.line == 6


def test_an_unknown_kind_is_named_with_its_line_and_what_it_may_be(cluster: Cluster, tmp_path: Path) -> None:
    manifest = tmp_path / "x.yaml"
    manifest.write_text("# a comment\napiVersion: v1\nkind: Servic\nmetadata: {name: x}\n")
    with pytest.raises(UserError, match=r"x\.yaml:3: nothing here serves Servic in v1 \(did you mean Service\?\)"):
        cluster.apply(manifest, within=0)
    manifest.write_text("kind: Deployment\napiVersion: extensions/v1beta1\nmetadata: {name: x}\n")
    with pytest.raises(UserError, match=r"x\.yaml:2: .*\(it is served as apps/v1\)"):
        cluster.apply(manifest, within=0)


def test_what_this_cilium_version_does_not_serve_is_refused_before_it_is_sent(
    server: FakeApiServer, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: cilium.io/v2alpha1\nkind: CiliumBGPPeeringPolicy\nmetadata: {name: p}\n")
    cluster = Cluster(server.kubeconfig(tmp_path), cilium_version="1.20.2")
    with pytest.raises(UserError, match=r"policy\.yaml:2: .*served by Cilium 1\.\d+ to 1\.18, not by 1\.20\.2"):
        cluster.apply([SERVICE, *manifests.load(policy)])
    assert not server.requests


def test_a_kind_that_turns_up_within_the_deadline_is_applied(cluster: Cluster, server: FakeApiServer) -> None:
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    new: tuple[Any, ...] = ("example.com", "v1", "Widget", "widgets", "widget", [], False)
    after(0.15, lambda: server.kinds.append(new))
    assert str(cluster.apply(widget, within=5)[0]) == "Widget w"


def test_a_refusal_that_passes_is_waited_for_and_one_that_stays_is_reported(
    cluster: Cluster, server: FakeApiServer
) -> None:
    terminating = (403, {"message": "namespace games is being terminated"})
    server.refuse = lambda method, path, body: terminating if method == "PATCH" else None
    with pytest.raises(UserError, match="being terminated"):
        cluster.apply(SERVICE, within=0.2)
    after(0.2, lambda: setattr(server, "refuse", lambda method, path, body: None))
    assert cluster.apply(SERVICE, within=5)[0].created


def test_objects_without_a_name_or_kind_are_refused(cluster: Cluster) -> None:
    with pytest.raises(UserError, match=r"no metadata\.name"):
        cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "x-"}})
    with pytest.raises(UserError, match="it has no apiVersion"):
        cluster.apply("kind: Service\nmetadata: {name: x}\n")


def test_get_list_exists_and_names_of_kinds(cluster: Cluster, server: FakeApiServer) -> None:
    cluster.apply(SERVICE)
    server.put("/api/v1/namespaces/games/services/other", {"metadata": {"labels": {"app": "game"}}})
    assert cluster.get("svc", "test-lb")["spec"] == {"type": "LoadBalancer"}
    assert [s["metadata"]["name"] for s in cluster.list("Service")] == ["test-lb"]
    assert len(cluster.list("services", namespace="")) == 2
    (labelled,) = cluster.list("services", namespace="", labels={"app": "game"})
    assert (labelled["kind"], labelled["apiVersion"]) == ("Service", "v1")
    assert cluster.exists("service", "test-lb")
    assert not cluster.exists("service", "nope")
    assert not cluster.exists("ciliumnodes.cilium.io", "nope")
    with pytest.raises(NotFound):
        cluster.get("service", "nope")
    with pytest.raises(UserError, match="nothing here serves a kind named 'Gizmo'"):
        cluster.list("Gizmo")


def test_patch_label_and_scale(cluster: Cluster, server: FakeApiServer) -> None:
    server.put("/api/v1/nodes/n1", {"metadata": {"labels": {"old": "1"}}})
    assert cluster.label("Node", "n1", {"io.cilium/bgp": "worker", "old": None})["metadata"]["labels"] == {
        "io.cilium/bgp": "worker"
    }
    assert cluster.label("node", "n1", zone="a")["metadata"]["labels"]["zone"] == "a"
    server.put("/apis/apps/v1/namespaces/default/deployments/web", {"spec": {"replicas": 1}})
    cluster.scale("deployment", "web", 3)
    assert server.requests[-1][:2] == ("PATCH", "/apis/apps/v1/namespaces/default/deployments/web/scale")
    assert cluster.get("deployment", "web")["spec"]["replicas"] == 3


def test_delete_waits_until_the_object_is_really_gone(cluster: Cluster, server: FakeApiServer) -> None:
    cluster.apply(SERVICE)
    server.keep_deleted = True
    after(0.2, lambda: server.remove(f"{SERVICES}/test-lb"))
    start = time.monotonic()
    assert cluster.delete(SERVICE) == ["Service default/test-lb"]
    assert 0.15 < time.monotonic() - start < 2
    assert cluster.delete("Service", "test-lb") == []


def test_delete_says_which_finalizer_keeps_an_object(cluster: Cluster, server: FakeApiServer) -> None:
    server.put(f"{SERVICES}/stuck", {"metadata": {"finalizers": ["example.com/hold"]}})
    server.keep_deleted = True
    with pytest.raises(WaitTimeout, match=r"Service stuck to be gone.*example\.com/hold"):
        cluster.delete("Service", "stuck", within=0.2, foreground=True)
    assert server.requests[-3][3] == {"propagationPolicy": "Foreground"}


def test_delete_goes_backwards_and_an_object_made_anew_is_not_the_deleted_one(
    cluster: Cluster, server: FakeApiServer
) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    cluster.apply([SERVICE, pod])

    def renew() -> None:
        server.remove(f"{SERVICES}/test-lb")
        server.put(f"{SERVICES}/test-lb", SERVICE)

    server.keep_deleted = True
    after(0.1, lambda: server.remove("/api/v1/namespaces/default/pods/p"))
    after(0.2, renew)
    assert cluster.delete([SERVICE, pod], within=5) == ["Pod default/p", "Service default/test-lb"]


def test_wait_follows_events_until_accepted(cluster: Cluster, server: FakeApiServer) -> None:
    path = f"{SERVICES}/late"
    after(0.1, lambda: server.put(path, {"status": {}}))
    after(0.2, lambda: server.put(path, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
    found = cluster.wait("Service", "late", condition("Ready"), within=5)
    assert found is not None
    assert found["metadata"]["name"] == "late"
    watches = [query for _, _, query, _ in server.requests if query.get("watch")]
    assert len(watches) == 1, "one watch, no polling"
    after(0.1, lambda: server.remove(path))
    assert cluster.wait("Service", "late", gone, within=5) is None


def test_a_wait_that_fails_says_what_it_saw_and_ends_in_time(cluster: Cluster, server: FakeApiServer) -> None:
    server.put(f"{SERVICES}/x", {"status": {"phase": "Waiting"}})
    start = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"waited 0\.3 s for x to be ready; seen at 0\.\d\d s: .*Waiting"):
        cluster.wait("Service", "x", condition("Ready"), within=0.3, what="x to be ready")
    assert 0.29 < time.monotonic() - start < 0.6


def test_a_wait_survives_a_watch_that_ends_and_one_whose_history_is_gone(
    cluster: Cluster, server: FakeApiServer
) -> None:
    path = f"{SERVICES}/x"
    server.put(path, {"status": {}})

    def each_time_that_it_watches() -> None:
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        until("the first watch", lambda: server.watches >= 1, within=4)
        server.end_watches()
        until("the second watch", lambda: server.watches >= 2, within=4)
        server.end_watches({"code": 410})
        until("the third watch", lambda: server.watches >= 3, within=4)
        server.put(path, ready)

    after(0, each_time_that_it_watches)
    assert cluster.wait("Service", "x", condition("Ready"), within=5)
    assert sum(1 for _, _, query, _ in server.requests if query.get("watch")) >= 3


def test_watch_yields_what_is_there_and_then_changes_until_its_time_is_over(
    cluster: Cluster, server: FakeApiServer
) -> None:
    server.put(f"{SERVICES}/a", {})
    after(0.1, lambda: server.put(f"{SERVICES}/b", {}))
    after(0.15, lambda: server.remove(f"{SERVICES}/a"))
    seen: list[Event] = list(cluster.watch("Service", within=0.5))
    assert [(e.type, e.object["metadata"]["name"]) for e in seen] == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert seen[0].at < seen[1].at < seen[2].at


def test_ready_endpoints(cluster: Cluster, server: FakeApiServer) -> None:
    def endpoint(ip: str, node: str, **conditions: bool) -> dict[str, Any]:
        target = {"name": f"pod-{ip[-1]}"}
        return {"addresses": [ip], "nodeName": node, "targetRef": target, "conditions": conditions}

    endpoints = [endpoint("10.0.0.2", "n2", ready=True), endpoint("10.0.0.3", "n3", ready=False)]
    labels = {"kubernetes.io/service-name": "test-lb"}
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    server.put(f"{slices}/1", {"metadata": {"labels": labels}, "endpoints": endpoints})
    server.put(f"{slices}/2", {"metadata": {"labels": labels}, "endpoints": [endpoint("10.0.0.1", "n1")]})
    server.put(f"{slices}/3", {"metadata": {"labels": {}}, "endpoints": [endpoint("10.0.0.9", "n9", ready=True)]})
    expected = [Endpoint("pod-1", "n1", "10.0.0.1"), Endpoint("pod-2", "n2", "10.0.0.2")]
    assert cluster.ready_endpoints("test-lb") == expected
    assert cluster.ready_endpoints("default/test-lb") == expected


def test_events_about_an_object_in_order_of_time(cluster: Cluster, server: FakeApiServer) -> None:
    events = "/api/v1/namespaces/default/events"
    for name, about, at in (("b", "x", "2"), ("a", "x", "1"), ("c", "y", "0")):
        server.put(f"{events}/{name}", {"involvedObject": {"kind": "Pod", "name": about}, "lastTimestamp": at})
    assert [e["metadata"]["name"] for e in cluster.events("Pod", "x")] == ["a", "b"]


def test_readiness_names_what_is_not_ok(cluster: Cluster, server: FakeApiServer) -> None:
    cluster.wait_ready(1)
    assert cluster.version() == "v1.34.4"
    not_ready = (500, {"message": "[+]ping ok\n[-]poststarthook/crd failed: not finished\nreadyz check failed"})
    server.refuse = lambda method, path, body: not_ready
    with pytest.raises(WaitTimeout, match="poststarthook/crd failed") as caught:
        cluster.wait_ready(0.1)
    assert "ping" not in caught.value.message


def test_an_api_server_that_is_away_counts_as_not_yet(cluster: Cluster, server: FakeApiServer, tmp_path: Path) -> None:
    cluster.apply(SERVICE)
    server.stop()
    cluster.close()
    with pytest.raises(ApiAway, match="does not answer") as caught:
        cluster.get("Service", "test-lb")
    assert isinstance(caught.value, LabError)
    assert isinstance(caught.value, OSError)
    with pytest.raises(WaitTimeout, match="does not answer"):
        cluster.wait("Service", "test-lb", gone, within=0.2)


def test_many_threads_share_one_cluster(cluster: Cluster) -> None:
    names = [f"s{i}" for i in range(40)]
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            cluster.apply({**SERVICE, "metadata": {"name": name}})
            assert cluster.get("Service", name)["metadata"]["name"] == name
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(cluster.list("Service")) == 40
