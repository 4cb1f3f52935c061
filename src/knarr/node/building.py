"""From a Pod to the requests that make its sandbox and containers."""

from knarr.node.claims import ClaimedDirectory
from knarr.node.console import Interaction
from knarr.node.containers import plan_limits, plan_oom_score, plan_process
from knarr.node.host import SandboxRequest
from knarr.node.images.records import ImageRecord, RootFs
from knarr.node.podfacts import PodFacts
from knarr.node.pulling import image_id
from knarr.node.record import Identity
from knarr.node.rootfiles import ContainerRequest
from knarr.node.services import REVISION_LABEL, Services
from knarr.node.volumes import volume_content
from knarr.resources.core.container import Container
from knarr.resources.core.pod import Pod

DEFAULT_MESSAGE_PATH = "/dev/termination-log"


def sandbox_request(
    facts: PodFacts, services: Services, *, replica_set: str = "", fingerprint: str = ""
) -> SandboxRequest:
    """What a Pod's sandbox is made from.

    Raises:
        BadContainer: something that a volume refers to is missing.
    """
    revision = facts.labels.get(REVISION_LABEL, "")
    security = facts.spec.security_context
    return SandboxRequest(
        identity=Identity(namespace=facts.namespace, name=facts.name, uid=facts.uid),
        revision=f"{facts.namespace}/{revision}" if revision else "",
        replica_set=replica_set,
        fingerprint=fingerprint,
        shared_ipc=len(facts.spec.containers) > 1,
        fs_group=security.fs_group if security else None,
        volumes={
            volume.name: volume_content(volume, facts, services.sources)
            for volume in facts.spec.volumes
        },
    )


def container_request(
    container: Container,
    attempt: int,
    image: ImageRecord,
    layers: RootFs,
    facts: PodFacts,
    services: Services,
) -> ContainerRequest:
    """What one run of a container is made from.

    Raises:
        BadContainer: something that it refers to is missing, or it asks for what no container gets.
    """
    security = facts.spec.security_context
    claims = {
        one.name: volume_content(one, facts, services.sources)
        for one in facts.spec.volumes
        if one.persistent_volume_claim is not None
    }
    read_only = frozenset(
        one.name
        for one in facts.spec.volumes
        if one.empty_dir is None and one.persistent_volume_claim is None
    )
    machine = services.machine
    return ContainerRequest(
        name=container.name,
        attempt=attempt,
        image=container.image,
        image_id=image_id(image),
        lower_dirs=layers.lower_dirs,
        host_binds=tuple((bind.source, bind.target) for bind in layers.binds),
        process=plan_process(container, image.config, facts, services.sources),
        limits=plan_limits(container, services.max_pids),
        oom_score_adj=plan_oom_score(container, machine.memory_bytes, machine.oom_score_adj),
        hostname=facts.hostname,
        mounts=container.volume_mounts,
        read_only_volumes=read_only,
        claims={
            name: content
            for name, content in claims.items()
            if isinstance(content, ClaimedDirectory)
        },
        groups=security.supplemental_groups if security else (),
        fs_group=security.fs_group if security else None,
        stop_signal=image.config.stop_signal,
        message_path=message_path(container),
        interaction=Interaction(container.stdin, container.stdin_once, container.tty),
    )


def message_path(container: Container) -> str:
    """Where a container leaves its last words; empty when only its log is asked for."""
    default = container.termination_message_path in ("", DEFAULT_MESSAGE_PATH)
    if default and container.termination_message_policy == "FallbackToLogsOnError":
        return ""
    return container.termination_message_path or DEFAULT_MESSAGE_PATH


def replica_set_of(pod: Pod) -> str:
    """The uid of the ReplicaSet that owns a Pod, or empty."""
    for owner in pod.metadata.owner_references or ():
        if owner.controller and owner.kind == "ReplicaSet":
            return owner.uid
    return ""
