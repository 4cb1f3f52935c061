"""Knative revisions as the node knows them: their ReplicaSet, and the Pod it would make."""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from knarr.kube.cache import Change
from knarr.meta.names import generated_name
from knarr.meta.objects import Key, ObjectMeta, Resource, owner_reference
from knarr.node.claims import claim_version
from knarr.node.podfacts import Reference, Sources, needs_identity, references
from knarr.node.servicelinks import service_variables
from knarr.node.services import REVISION_LABEL
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet
from knarr.resources.core.container import Container, Probe
from knarr.resources.core.pod import Pod
from knarr.resources.core.pod_defaults import default_running_spec
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.core.tokenvolume import DEFAULT_ACCOUNT, ROOT_CA, admit_spec, mounts_token

DEFAULT_PORT = 8080


@dataclass(frozen=True, slots=True)
class RevisionEntry:
    """What activation needs, ready to use.

    Attributes:
        revision: ``namespace/name``.
        replica_set: key of the newest ReplicaSet of the revision.
        uid: of that.
        replicas: wanted by it.
        port: of the serving container.
        serving: the container that has it.
        parkable: a sandbox of it can be made before its Pod exists.
        links: its containers are told of the namespace's Services.
    """

    revision: str
    replica_set: Key
    uid: str
    replicas: int
    port: int
    serving: Container
    parkable: bool
    links: bool = False

    @property
    def probe(self) -> Probe | None:
        """The serving container's readiness probe."""
        return self.serving.readiness_probe


def serving_container(spec: PodSpec) -> Container:
    """The container that has a port; the first one when none has.

    Raises:
        ValueError: there is no container.
    """
    for container in spec.containers:
        if container.ports:
            return container
    if not spec.containers:
        raise ValueError("the template has no container")
    return spec.containers[0]


def revision_of(replica_set: ReplicaSet) -> str:
    """``namespace/name`` of the revision that a ReplicaSet runs, or empty."""
    name = replica_set.metadata.label(REVISION_LABEL)
    template = replica_set.spec.template if replica_set.spec else None
    if not name and template is not None and template.metadata is not None:
        name = template.metadata.label(REVISION_LABEL)
    return f"{replica_set.metadata.namespace}/{name}" if name else ""


def entry_of(replica_set: ReplicaSet) -> RevisionEntry | None:
    """What activation needs of a ReplicaSet; None when it runs no revision."""
    revision = revision_of(replica_set)
    spec = replica_set.spec
    template = spec.template if spec else None
    if not revision or spec is None or template is None or template.spec is None:
        return None
    try:
        container = serving_container(template.spec)
    except ValueError:
        return None
    port = container.ports[0].container_port if container.ports else DEFAULT_PORT
    return RevisionEntry(
        revision=revision,
        replica_set=replica_set.key,
        uid=replica_set.metadata.uid,
        replicas=1 if spec.replicas is None else spec.replicas,
        port=port,
        serving=container,
        parkable=not template.spec.init_containers and not needs_identity(template.spec),
        links=template.spec.enable_service_links is not False,
    )


def planned_pod(replica_set: ReplicaSet, node_name: str, rng: random.Random) -> Pod:
    """The Pod that the ReplicaSet would make, with a name and bound to this node; it has no uid."""
    spec = replica_set.spec
    template = spec.template if spec else None
    metadata = template.metadata if template and template.metadata else ObjectMeta()
    pod_spec = template.spec if template and template.spec else PodSpec()
    owner = replica_set
    if not owner.kind:
        owner = msgspec.structs.replace(
            owner, kind=REPLICA_SET.kind, api_version=REPLICA_SET.api_version
        )
    return Pod(
        api_version="v1",
        kind="Pod",
        metadata=ObjectMeta(
            name=generated_name(f"{replica_set.metadata.name}-", rng),
            namespace=replica_set.metadata.namespace,
            labels=metadata.labels,
            annotations=metadata.annotations,
            owner_references=(owner_reference(owner),),
        ),
        spec=msgspec.structs.replace(pod_spec, node_name=node_name),
    )


def sandbox_pod(
    replica_set: ReplicaSet, node_name: str, rng: random.Random, sources: Sources
) -> Pod:
    """The Pod that a sandbox without one is made for: as it will be once the API server has admitted it."""
    pod = planned_pod(replica_set, node_name, rng)
    spec = default_running_spec(pod.spec or PodSpec())
    account = sources.account(pod.metadata.namespace, spec.service_account_name)
    return msgspec.structs.replace(pod, spec=admit_spec(spec, account or ServiceAccount(), rng))


def fingerprint(replica_set: ReplicaSet, digests: tuple[str, ...], sources: Sources) -> str:
    """Changes whenever a parked sandbox would have to be made differently.

    Args:
        replica_set: its template counts.
        digests: of the containers' images, in order.
        sources: the objects that the template refers to, its account and the Services it is told of.
    """
    digest = hashlib.sha256()
    template = replica_set.spec.template if replica_set.spec else None
    digest.update(msgspec.json.encode(template))
    digest.update("\0".join(digests).encode())
    spec = template.spec if template and template.spec else PodSpec()
    namespace = replica_set.metadata.namespace
    account = sources.account(namespace, spec.service_account_name or DEFAULT_ACCOUNT)
    told = mounts_token(spec, account or ServiceAccount())
    digest.update(str(told).encode())
    needed = references(spec) | ({Reference("ConfigMap", ROOT_CA)} if told else set())
    for reference in sorted(needed, key=lambda one: (one.kind, one.name)):
        version = _version(reference, namespace, sources)
        digest.update(f"\0{reference.kind}/{reference.name}={version}".encode())
    services = sources.linked_services(namespace, links=spec.enable_service_links is not False)
    digest.update(msgspec.json.encode(service_variables(services)))
    return digest.hexdigest()[:32]


def _version(reference: Reference, namespace: str, sources: Sources) -> str:
    """Changes with the object; ``-`` when there is none."""
    found: Resource | None
    match reference.kind:
        case "PersistentVolumeClaim":
            return claim_version(sources.claim(namespace, reference.name))
        case "ConfigMap":
            found = sources.config_map(namespace, reference.name)
        case _:
            found = sources.secret(namespace, reference.name)
    return f"{found.metadata.uid}/{found.metadata.resource_version}" if found else "-"


class RevisionIndex:
    """Follows ReplicaSets: revision to entry, kept ready for the activation path."""

    __slots__ = ("_by_revision", "_by_uid", "_on_change")

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._by_uid: dict[str, RevisionEntry] = {}
        self._by_revision: dict[str, list[str]] = {}
        self._on_change = on_change

    def find(self, revision: str) -> RevisionEntry | None:
        """The revision's newest entry."""
        uids = self._by_revision.get(revision)
        return self._by_uid[uids[-1]] if uids else None

    def by_uid(self, uid: str) -> RevisionEntry | None:
        """The entry of a ReplicaSet."""
        return self._by_uid.get(uid)

    def __iter__(self) -> Iterator[RevisionEntry]:
        return iter(tuple(self._by_uid.values()))

    def changed(self, change: Change[ReplicaSet]) -> None:
        """Informer handler."""
        if change.old is not None:
            self._drop(change.old.metadata.uid)
        new = change.new
        entry = entry_of(new) if new is not None and not new.deleting else None
        if entry is not None:
            self._by_uid[entry.uid] = entry
            self._by_revision.setdefault(entry.revision, []).append(entry.uid)
        self._on_change(change.subject.metadata.uid)

    def _drop(self, uid: str) -> None:
        entry = self._by_uid.pop(uid, None)
        if entry is None:
            return
        uids = self._by_revision[entry.revision]
        uids.remove(uid)
        if not uids:
            del self._by_revision[entry.revision]
