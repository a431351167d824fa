"""CiliumBGPPeeringPolicies to the objects that a Cilium version wants in their place (facts/cilium.md 1.2 to 1.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import manifests
from harness.cilium import api
from harness.cilium.migrate import overrides, peers, traps
from harness.cilium.migrate.attributes import advertised
from harness.cilium.migrate.document import Document
from harness.cilium.migrate.message import Message, Weight, about
from harness.cilium.migrate.peers import PeerConfig
from harness.cilium.migrate.policy import KIND, Neighbor, Policy, VirtualRouter, name_of, read
from harness.cilium.peering import Generation, generations
from harness.cilium.semver import Version, parse
from harness.errors import UserError
from harness.manifests import Manifest
from harness.yamlfile import Step

#: The newest minor that serves the policy: fields that it does not know have no effect in any.
_NEWEST_OF_POLICY = parse("1.18.0")
#: The label by which a CiliumBGPPeerConfig finds its CiliumBGPAdvertisement.
_LABEL = "advertise"


@dataclass
class Migration:
    """What became of some manifests.

    Attributes:
        documents: The new objects by the policy that they replace, in the order in which they are to be applied.
        messages: What has to be said about it.
    """

    documents: dict[str, list[Document]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the new objects do all that the old ones did."""
        return not any(message.weight is Weight.LOSS for message in self.messages)


def migrate(given: Iterable[Manifest], version: Version) -> Migration:
    """Translate the policies among some manifests.

    Args:
        given: Manifests: policies; Node objects, whose annotations belong to them; others, which are looked over.
        version: The Cilium version that is to run with the new objects.

    Raises:
        UserError: there is no policy, one cannot be read, or the version has no other API.
    """
    given = list(given)
    served = [one for one in generations(version) if one is not Generation.POLICY]
    if not served:
        raise UserError(f"Cilium {version} has no API but {KIND}", hint="the newer API works from 1.16 on")
    policies = [(one, read(one)) for one in given if one.kind == KIND and one.group == api.GROUP]
    if not policies:
        files = ", ".join(dict.fromkeys(one.file for one in given if one.file)) or "what was given"
        raise UserError(f"there is no {KIND} in {files}")
    done = Migration()
    instances: dict[int, str] = {}
    for manifest, policy in policies:
        done.messages += _unknown_fields(manifest)
        translated = _Translation(manifest, policy, str(served[0]), version)
        done.documents[name_of(manifest)] = list(translated.documents())
        done.messages += translated.messages
        instances |= {router.local_asn: _instance(router) for router in policy.routers}
    done.messages += traps.traps(policies, version)
    nodes = [one for one in given if one.kind == "Node" and one.api_version == "v1"]
    for found in overrides.overrides(nodes, instances, str(served[0])):
        if isinstance(found, Message):
            done.messages.append(found)
        else:
            done.documents.setdefault("nodes", []).append(found)
    if not nodes:
        done.messages.append(_no_nodes(policies[0][0]))
    done.messages += _others(given, version)
    _check(done, version)
    return done


def _unknown_fields(manifest: Manifest) -> Iterator[Message]:
    for error in api.complaints(manifest, _NEWEST_OF_POLICY):
        text = f"{error.message}: the API server drops it without a word, it has never had an effect"
        yield Message(Weight.WARNING, text, error.file, error.line, error.hint)


def _no_nodes(manifest: Manifest) -> Message:
    return about(
        Weight.NOTE,
        manifest,
        ("kind",),
        f"annotations {overrides.PREFIX}ASN of nodes, with a router-id or a local-port, are not read by the new API",
        "if there are any, give the nodes too: kubectl get nodes -o yaml > nodes.yaml",
    )


def _others(given: Sequence[Manifest], version: Version) -> Iterator[Message]:
    for manifest in given:
        if manifest.kind != KIND:
            for error in api.complaints(manifest, version):
                yield Message(Weight.WARNING, f"not migrated: {error.message}", error.file, error.line, error.hint)


def _check(done: Migration, version: Version) -> None:
    """Refuse to hand out what the version would not take: a newer field in an older minor."""
    for documents in done.documents.values():
        api.check(manifests.load_objects(document.object for document in documents), version)


def _instance(router: VirtualRouter) -> str:
    return f"instance-{router.local_asn}"


class _Translation:
    """One policy on its way."""

    def __init__(self, manifest: Manifest, policy: Policy, api_version: str, version: Version) -> None:
        self.messages: list[Message] = []
        self._manifest = manifest
        self._policy = policy
        self._api_version = api_version
        self._version = version
        self._name = name_of(manifest)

    def documents(self) -> Iterator[Document]:
        """The new objects; those that others refer to come first, as sessions come up with the cluster config."""
        instances: list[dict[str, Any]] = []
        remarks: dict[tuple[Step, ...], str] = {}
        asns: set[int] = set()
        for place, router in enumerate(self._policy.routers):
            path: tuple[Step, ...] = ("spec", "virtualRouters", place)
            self._check_asn(path, router, asns)
            configs = self._peer_configs(path, router)
            for config in configs:
                yield from self._of_peer_config(config, router)
            instances.append(self._instance(router, configs, ("spec", "bgpInstances", place), remarks))
        spec: dict[str, Any] = {} if self._policy.nodes is None else {"nodeSelector": self._policy.nodes}
        place_of = f" ({self._manifest.file}:{self._manifest.line})" if self._manifest.file else ""
        labels = (self._manifest.object.get("metadata") or {}).get("labels")
        yield Document(
            self._object("CiliumBGPClusterConfig", self._name, {**spec, "bgpInstances": instances}, labels),
            (
                f"In place of {self._manifest}{place_of}: which nodes speak BGP, and with whom.",
                traps.switch_over(self._version),
            ),
            remarks,
        )

    def _check_asn(self, path: tuple[Step, ...], router: VirtualRouter, asns: set[int]) -> None:
        if router.local_asn == 0:
            raise self._manifest.error("localASN 0 is no AS number", *path, "localASN", hint="1 to 4294967295")
        if router.local_asn in asns:  # "encountered duplicate local ASNs": 1.18:pkg/bgpv1/manager/workdiff.go
            text = f"two virtual routers have localASN {router.local_asn}: Cilium takes none of them"
            raise self._manifest.error(text, *path, "localASN")
        asns.add(router.local_asn)

    # -- peers -----------------------------------------------------------------------------------------------------

    def _peer_configs(self, path: tuple[Step, ...], router: VirtualRouter) -> list[PeerConfig]:
        configs: list[PeerConfig] = []
        for place, neighbor in enumerate(router.neighbors):
            here = (*path, "neighbors", place)
            self._say_about(here, neighbor)
            told = advertised(self._manifest, here, router, neighbor)
            self.messages += told.messages
            if told.overlap and self._version < traps.ADD_UP:
                text = f"advertisements that overlap do not add up in Cilium {self._version}: one of them wins (#35721)"
                self.messages.append(about(Weight.WARNING, self._manifest, here, text, "1.18 and later add them up"))
            peers.config_of(neighbor, told.entries, configs)
        single = len(self._policy.routers) == 1
        peers.give_names(configs, self._name if single else f"{self._name}-{router.local_asn}")
        if not any(config.entries for config in configs):
            text = "the virtual router announces nothing: it has no serviceSelector, exportPodCIDR or podIPPoolSelector"
            self.messages.append(about(Weight.NOTE, self._manifest, path, text))
        return configs

    def _say_about(self, path: tuple[Step, ...], neighbor: Neighbor) -> None:
        if neighbor.prefix_length != neighbor.address.max_prefixlen:
            text = f"peerAddress {neighbor.peer_address} is no single address: Cilium connects to {neighbor.address}"
            self.messages.append(about(Weight.NOTE, self._manifest, (*path, "peerAddress"), text))
        if neighbor.peer_asn == 0 and self._version < traps.ANY_ASN:
            text = f"peerASN 0, any AS number, is known from Cilium {traps.ANY_ASN.minor_text} on"
            hint = "write the router's AS number"
            self.messages.append(about(Weight.LOSS, self._manifest, (*path, "peerASN"), text, hint))
        if not neighbor.families:
            self.messages.append(
                about(
                    Weight.NOTE,
                    self._manifest,
                    path,
                    f"neighbor {neighbor.address} names no families: a policy means IPv4 and IPv6 then; in the new API "
                    "it would announce nothing, so both are written down",
                    "leaving one out changes the OPEN that the router sees",
                )
            )

    def _of_peer_config(self, config: PeerConfig, router: VirtualRouter) -> Iterator[Document]:
        labels = {_LABEL: config.name}
        families = [
            {
                "afi": family.afi,
                "safi": family.safi,
                **({"advertisements": {"matchLabels": labels}} if config.entries else {}),
            }
            for family in config.families
        ]
        whom = ", ".join(str(neighbor.address) for neighbor in config.neighbors)
        remarks: dict[tuple[Step, ...], str] = {}
        if config.entries:
            remarks["spec", "families"] = "a family without this selector is negotiated, and announces nothing"
        if "ebgpMultihop" in config.spec:
            remarks["spec", "ebgpMultihop"] = "was eBGPMultihopTTL"
        if "transport" in config.spec:
            remarks["spec", "transport", "peerPort"] = "was peerPort of the neighbor"
        if config.entries:
            yield Document(
                self._object("CiliumBGPAdvertisement", config.name, {"advertisements": list(config.entries)}, labels),
                (
                    f"What the nodes announce as AS {router.local_asn} to {whom}. A policy announces whatever it "
                    "selects to every neighbor; here a peer hears only advertisements whose labels its families "
                    "select.",
                ),
                {("metadata", "labels", _LABEL): "the families of the CiliumBGPPeerConfig select this"},
            )
        yield Document(
            self._object("CiliumBGPPeerConfig", config.name, {**config.spec, "families": families}),
            (f"How the nodes speak with {whom}.",),
            remarks,
        )

    def _instance(
        self,
        router: VirtualRouter,
        configs: Sequence[PeerConfig],
        path: tuple[Step, ...],
        remarks: dict[tuple[Step, ...], str],
    ) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        names: set[str] = set()
        for place, neighbor in enumerate(router.neighbors):
            config = next(one for one in configs if any(neighbor is other for other in one.neighbors))
            name = peers.peer_name(neighbor)
            if name in names:
                text = f"two neighbors of one virtual router have the address {neighbor.address}"
                raise self._manifest.error(text, "spec", "virtualRouters", path[-1], "neighbors", place)
            names.add(name)
            remarks[*path, "peers", place, "peerAddress"] = f"was {neighbor.peer_address}: no prefix length here"
            entries.append(
                {
                    "name": name,
                    "peerASN": neighbor.peer_asn,
                    "peerAddress": str(neighbor.address),
                    "peerConfigRef": {"name": config.name},
                }
            )
        return {"name": _instance(router), "localASN": router.local_asn, "peers": entries}

    def _object(self, kind: str, name: str, spec: dict[str, Any], labels: Any = None) -> dict[str, Any]:
        metadata = {"name": name, **({"labels": dict(labels)} if labels else {})}
        return {"apiVersion": self._api_version, "kind": kind, "metadata": metadata, "spec": spec}
