"""Charts and manifests of a kind lab: values, images, and what Helm's failures become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.kind import charts, cilium, frr_image, metallb
from harness.backends.kind.charts import Release
from harness.backends.kind.commands import Completed
from harness.backends.kind.options import KindOptions
from harness.backends.kind.tools import Tools
from harness.errors import LabError, LblabError, MissingCapability, UserError
from harness.topology import Metallb, Topology, load

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.fixture(scope="module")
def small() -> Topology:
    return load(TOPOLOGIES / "small.yaml")


class Fake:
    """Runs no command: says what was asked for, and answers."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def __call__(self, argv: list[str], **_: Any) -> Completed:
        self.asked.append(argv)
        code, text = self.answers.pop(0) if self.answers else (0, "")
        return Completed(argv, code, text.splitlines())

    def tools(self) -> Tools:
        return Tools(None, Path("docker"), Path("kind"), Path("helm"), runner=self)


def test_lblabs_values_are_few_and_the_users_win(small: Topology) -> None:
    own = cilium.values(small)
    assert own["bgpControlPlane"] == {"enabled": True}
    assert own["k8sServiceHost"] == "192.168.130.150"
    assert "l2announcements" not in own
    merged = charts.merged([own, {"operator": {"replicas": 2}}, {"kubeProxyReplacement": False}])
    assert merged["operator"]["replicas"] == 2
    assert merged["operator"]["image"]["useDigest"] is False
    assert merged["kubeProxyReplacement"] is False
    assert own["operator"]["replicas"] == 1


@pytest.mark.parametrize(
    ("users", "mode"),
    [
        ([], "none"),
        ([{"kubeProxyReplacement": False}], "iptables"),
        ([{"kubeProxyReplacement": "strict"}], "none"),
        ([{"kubeProxyReplacement": "partial"}], "iptables"),
        ([{"kubeProxyReplacement": False}, {"kubeProxyReplacement": True}], "none"),
    ],
)
def test_the_values_decide_on_kube_proxy(small: Topology, users: list[dict[str, Any]], mode: str) -> None:
    assert cilium.kube_proxy(cilium.values(small), users) == mode


def test_l2_announcements_are_in_the_values_with_their_timers(small: Topology) -> None:
    l2 = small.cilium.l2announcements.model_copy(update={"enabled": True})
    with_l2 = small.model_copy(update={"cilium": small.cilium.model_copy(update={"l2announcements": l2})})
    assert cilium.values(with_l2)["l2announcements"] == {
        "enabled": True,
        "leaseDuration": "15s",
        "leaseRenewDeadline": "5s",
        "leaseRetryPeriod": "2s",
    }


def test_other_images_take_the_charts_place() -> None:
    assert cilium.image_values({"agent": "a:1", "operator": "o:1"}) == {
        "image": {"override": "a:1"},
        "operator": {"image": {"override": "o:1"}},
    }
    assert cilium.image_values({}) == {}


def test_a_capability_that_the_machine_withholds_is_not_asked_for() -> None:
    everything = (1 << 41) - 1
    assert cilium.withheld(everything) == []
    assert cilium.withheld(everything & ~(1 << 24)) == ["SYS_RESOURCE"]
    asked = {"ciliumAgent": ["NET_ADMIN", "SYS_RESOURCE"], "mountCgroup": ["SYS_ADMIN"]}
    assert cilium.without(asked, ["SYS_RESOURCE"]) == {"ciliumAgent": ["NET_ADMIN"]}


@pytest.mark.parametrize(
    ("version", "kinds"),
    [
        ("1.15.19", {"CiliumBGPPeeringPolicy", "CiliumLoadBalancerIPPool"}),
        ("1.20.2", {"CiliumBGPClusterConfig", "CiliumBGPAdvertisement", "CiliumLoadBalancerIPPool"}),
    ],
)
def test_cilium_is_ready_when_the_kinds_of_its_version_are_served(version: str, kinds: set[str]) -> None:
    assert cilium.needed_kinds(version) == kinds


def test_images_are_read_out_of_manifests() -> None:
    text = """
      containers:
      - name: a
        image: "quay.io/a:1"
      - image: b:2
      initContainers: [{name: c}]
        image: 'quay.io/a:1'
      # image: no:1
    """
    assert charts.images_of(text) == ["quay.io/a:1", "b:2"]


def test_a_value_that_a_chart_refuses_is_one_message_with_its_file(tmp_path: Path) -> None:
    output = [
        "Error: values don't meet the specifications of the schema(s) in the following chart(s):",
        "cilium:",
        "- at '/operator/replicas': got string, want integer",
    ]
    error = charts.refused("Cilium 1.18.0", output, [tmp_path / "own", tmp_path / "mine.yaml"])
    assert isinstance(error, UserError)
    assert error.file == str(tmp_path / "mine.yaml")
    assert "refuses a value" in str(error)
    assert "want integer" in str(error)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('Error: looks like "https://helm.cilium.io" is not a valid chart repository: no such host', MissingCapability),
        ('Error: chart "cilium" version "1.99.0" not found in https://helm.cilium.io repository', UserError),
    ],
)
def test_a_chart_that_cannot_be_had_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, kind: type[LblabError]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(kind, match="--cilium-chart"):
        charts.fetch(Fake((1, said)).tools(), "cilium", "Cilium 1.99.0", None, cilium.REPOSITORY, "1.99.0")


def test_a_chart_is_fetched_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "lblab" / "charts" / "helm.cilium.io" / "cilium-1.18.0.tgz"
    kept.parent.mkdir(parents=True)
    kept.touch()
    fake = Fake()
    assert charts.fetch(fake.tools(), "cilium", "Cilium", None, cilium.REPOSITORY, "1.18.0") == kept
    assert fake.asked == []


def test_a_local_chart_may_be_called_after_its_version(tmp_path: Path) -> None:
    (tmp_path / "cilium-1.18.0.tgz").touch()
    given = str(tmp_path / "cilium-{version}.tgz")
    tools = Fake().tools()
    found = charts.fetch(tools, "cilium", "Cilium", given, cilium.REPOSITORY, "1.18.0")
    assert found == tmp_path / "cilium-1.18.0.tgz"
    with pytest.raises(UserError, match="there is no such file or folder"):
        charts.fetch(tools, "cilium", "Cilium", given, cilium.REPOSITORY, "1.19.4")


def test_an_oci_reference_is_asked_for_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fake = Fake((1, "Error: 404"))
    with pytest.raises(MissingCapability):
        charts.fetch(fake.tools(), "cilium", "Cilium", "oci://r/cilium", cilium.REPOSITORY, "1.18.0")
    (argv,) = fake.asked
    assert argv[:5] == ["helm", "pull", "oci://r/cilium", "--version", "1.18.0"]


def test_helms_last_lines_are_in_the_failure(tmp_path: Path) -> None:
    release = Release("cilium", "Cilium 1.18.0", tmp_path, "kube-system", ())
    said = "\n".join(f"line {number}" for number in range(40))
    with pytest.raises(LabError, match=r"(?s)exit code 1.*line 39") as caught:
        charts.install(Fake((1, said)).tools(), release, tmp_path / "kubeconfig")
    assert "line 1\n" not in str(caught.value)


SPEAKER = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "speaker"},
    "spec": {"template": {"spec": {"containers": [{"name": "speaker", "image": "s:1", "args": ["--port=7472"]}]}}},
}


def test_metallbs_speakers_run_on_the_topologys_nodes_and_are_never_pulled() -> None:
    settings = Metallb.model_validate({"speakerNodeSelector": {"metallb": "yes"}, "loadBalancerClass": "metallb.io/l2"})
    spec = metallb.change(SPEAKER, settings)["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"metallb": "yes"}
    assert spec["affinity"]["nodeAffinity"]
    (container,) = spec["containers"]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["args"] == ["--port=7472", "--lb-class=metallb.io/l2"]
    assert SPEAKER["spec"]["template"]["spec"]["containers"][0]["args"] == ["--port=7472"]  # type: ignore[index]


def test_metallbs_controller_is_beside_the_api_server() -> None:
    controller = {**SPEAKER, "kind": "Deployment"}
    spec = metallb.change(controller, Metallb())["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
    other = {"kind": "ConfigMap", "data": {}}
    assert metallb.change(other, Metallb()) is other


@pytest.mark.parametrize(
    ("tag", "version", "match"),
    [("10.3.1", "10.3", True), ("v10.3.1", "10.3.1", True), ("10.31", "10.3", False), ("8.4", None, True)],
)
def test_an_image_of_frr_is_known_by_its_tag(tag: str, version: str | None, match: bool) -> None:
    assert frr_image.matches(tag, version) is match


def test_an_image_of_another_frr_than_was_asked_for_is_refused() -> None:
    frr_image.check((10, 3), "x/frr", KindOptions(frr_version="10"))
    with pytest.raises(UserError, match=r"x/frr has FRR 8\.4\.4, not 10\.3"):
        frr_image.check((8, 4, 4), "x/frr", KindOptions(frr_version="10.3"))


def test_frr_is_built_of_debians_packages_or_of_its_own_for_a_release() -> None:
    plain = frr_image.dockerfile(None, "kindest/node:v1.34.0")
    assert plain.startswith("FROM kindest/node:v1.34.0\n")
    assert "deb.frrouting.org" not in plain
    assert "$VERSION_CODENAME frr-10.3" in frr_image.dockerfile("10.3.1", "base")
