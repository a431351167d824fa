"""MetalLB's processes in an embedded lab, and the files that they read.

Options are explained where they are not those of MetalLB's own manifests.
"""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from harness.backends.netns.spec import Process, Ready
from harness.binaries import Metallb
from harness.metallb import install
from harness.topology import Topology

#: The folder that the lab shows as /etc/metallb, where the speaker looks for its files.
ETC = "metallb"
#: Memberlist's port, TCP and UDP, as in MetalLB's manifests.
MEMBERLIST_PORT = 7946

#: Interfaces on which nothing is announced, by MetalLB's own ConfigMap metallb-excludel2 (facts/l2_and_lag.md 1.5).
_EXCLUDED = (
    *("^docker.*", "^cbr.*", "^dummy.*", "^virbr.*", "^lxcbr.*", "^veth.*", "^lo$", "^cali.*", "^tunl.*", "^flannel.*"),
    *("^kube-ipvs.*", "^cni.*", "^nodelocaldns.*", "^lxc.*"),
)
#: What both write when they have found all that they ask for (MetalLB, internal/k8s/k8s.go, Run).
_READY = Ready(log='"msg":"Starting Manager"')
#: Bytes of the memberlist's key (MetalLB, internal/k8s/k8s.go, CreateMlSecret: 128 bits).
_KEY_BYTES = 16


def metallb(
    topology: Topology, binaries: Metallb, folder: Path, kubeconfig: Path, control_plane: str
) -> tuple[Process, ...]:
    """The controller and a speaker for each node that runs one. They are started once their kinds are served.

    Args:
        topology: The topology.
        binaries: MetalLB's programs.
        folder: The lab's folder; the files are made in it.
        kubeconfig: How they reach the API server.
        control_plane: The namespace of the controller.
    """
    etc = folder / ETC
    key = etc / "memberlist-key"
    key.mkdir(parents=True)
    (key / "secretkey").write_bytes(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).rstrip(b"="))
    # JSON is YAML, too
    (etc / "excludel2.yaml").write_text(json.dumps({"announcedInterfacesToExclude": _EXCLUDED}))
    common = [f"-kubeconfig={kubeconfig}", f"-namespace={install.NAMESPACE}"]
    if topology.metallb is not None and topology.metallb.load_balancer_class:
        common.append(f"-lb-class={topology.metallb.load_balancer_class}")
    # without FRR beside it, the speaker speaks BGP itself
    env = {"METALLB_BGP_TYPE": "native"}
    controller = Process(
        f"{control_plane}/metallb-controller",
        control_plane,
        # webhooks need certificates that the API server trusts; lblab checks what is applied itself
        (str(binaries.controller), *common, "-webhook-mode=disabled"),
        # 0.16 owns objects by its Pod; 0.15 has no option for it
        env={**env, "METALLB_POD_NAME": install.CONTROLLER_POD},
        ready=_READY,
        at_boot=False,
    )
    labels = ",".join(f"{key}={value}" for key, value in install.SPEAKER_LABELS.items())
    speakers = (
        Process(
            f"{node}/metallb-speaker",
            node,
            (
                str(binaries.speaker),
                *common,
                f"-node-name={node}",
                f"-pod-name={install.speaker_pod(node)}",
                f"-ml-bindaddr={topology.nodes[node].address[0]}",
                f"-ml-bindport={MEMBERLIST_PORT}",
                f"-ml-labels={labels}",
                f"-ml-secret-key-path={key}",
            ),
            env=env,
            ready=_READY,
            at_boot=False,
        )
        for node in topology.speakers()
    )
    return controller, *speakers
