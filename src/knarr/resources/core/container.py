"""Containers of a Pod (Kubernetes ``core/v1.Container``): the fields that Knarr honours."""

from collections.abc import Mapping

import msgspec

from knarr.meta.objects import Struct
from knarr.resources.core.volume import ObjectFieldSelector, Quantity, ResourceFieldSelector


class ContainerPort(Struct, frozen=True, kw_only=True):
    """A port the application listens on."""

    name: str = ""
    container_port: int = 0
    protocol: str = ""


class KeySelector(Struct, frozen=True, kw_only=True):
    """One key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class EnvVarSource(Struct, frozen=True, kw_only=True):
    """Where a variable's value comes from; exactly one field is set."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Struct, frozen=True, kw_only=True):
    """An environment variable; ``$(OTHER)`` in the value refers to an earlier one."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvSource(Struct, frozen=True, kw_only=True):
    """A ConfigMap or Secret by name."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(Struct, frozen=True, kw_only=True):
    """Every key of a ConfigMap or Secret becomes a variable, with ``prefix`` before its name."""

    prefix: str = ""
    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None


class ResourceRequirements(Struct, frozen=True, kw_only=True):
    """What a container may use at most (``limits``) and what is set aside for it (``requests``)."""

    limits: Mapping[str, Quantity] | None = None
    requests: Mapping[str, Quantity] | None = None


class VolumeMount(Struct, frozen=True, kw_only=True):
    """Where a volume appears in a container; ``subPath`` picks a file or directory of it."""

    name: str = ""
    read_only: bool = False
    mount_path: str = ""
    sub_path: str = ""


class ExecAction(Struct, frozen=True, kw_only=True):
    """A command that succeeds with exit code 0; no shell is involved."""

    command: tuple[str, ...] = ()


class HttpHeader(Struct, frozen=True, kw_only=True):
    """A header of a probe's request."""

    name: str = ""
    value: str = ""


class HttpGetAction(Struct, frozen=True, kw_only=True):
    """A GET that succeeds with a status from 200 to 399; ``port`` is a number or a port's name."""

    path: str = ""
    port: int | str | None = None
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(Struct, frozen=True, kw_only=True):
    """A connection that is accepted."""

    port: int | str | None = None
    host: str = ""


class GrpcAction(Struct, frozen=True, kw_only=True):
    """``grpc.health.v1.Health/Check`` of ``service`` answers SERVING."""

    port: int | None = None
    service: str | None = None


class Probe(Struct, frozen=True, kw_only=True):
    """A periodic check of a container; exactly one handler is set. Times are seconds."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int | None = None
    timeout_seconds: int | None = None
    period_seconds: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None
    termination_grace_period_seconds: int | None = None


class SleepAction(Struct, frozen=True, kw_only=True):
    """A pause."""

    seconds: int = 0


class LifecycleHandler(Struct, frozen=True, kw_only=True):
    """What happens at a point of a container's life; exactly one field is set."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Struct, frozen=True, kw_only=True):
    """Hooks of a container: ``preStop`` runs before SIGTERM, within the grace period."""

    pre_stop: LifecycleHandler | None = None


class Capabilities(Struct, frozen=True, kw_only=True):
    """Linux capabilities, without ``CAP_``; ``ALL`` means every one."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SeccompProfile(Struct, frozen=True, kw_only=True):
    """``type`` is RuntimeDefault, Unconfined or Localhost."""

    type: str = ""
    localhost_profile: str | None = None


class SecurityContext(Struct, frozen=True, kw_only=True):
    """As whom and with which rights a container's process runs."""

    capabilities: Capabilities | None = None
    privileged: bool | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    seccomp_profile: SeccompProfile | None = None


class Container(Struct, frozen=True, kw_only=True):
    """An application of a Pod: an image and how to run it."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements | None = None
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class ContainerStateWaiting(Struct, frozen=True, kw_only=True):
    """Not running yet, or between two runs; the reason is one word, e.g. ``CrashLoopBackOff``."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(Struct, frozen=True, kw_only=True):
    """The process runs."""

    started_at: str | None = None


class ContainerStateTerminated(Struct, frozen=True, kw_only=True):
    """The process ended."""

    exit_code: int | None = None
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    container_id: str = msgspec.field(default="", name="containerID")


class ContainerState(Struct, frozen=True, kw_only=True):
    """Exactly one field is set."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Struct, frozen=True, kw_only=True):
    """What the node reports about one container; ``started`` follows the startup probe."""

    name: str = ""
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    ready: bool | None = None
    restart_count: int | None = None
    image: str | None = None
    image_id: str | None = msgspec.field(default=None, name="imageID")
    container_id: str = msgspec.field(default="", name="containerID")
    started: bool | None = None
