"""From a Pod's container and its image to an OCI configuration. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from knarr.node.bundle import BadContainer, Limits
from knarr.node.environment import DEFAULT_PATH, compose_arguments, compose_environment
from knarr.node.images.records import ImageConfig
from knarr.node.podfacts import PodFacts, Sources
from knarr.node.quantities import milli_units, whole_units
from knarr.node.users import Identity
from knarr.node.variables import declared_variables
from knarr.resources.core.container import Container, SecurityContext
from knarr.resources.core.podspec import PodSecurityContext

ALL_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    "SYS_NICE", "SYS_PTRACE", "SYS_RESOURCE",
)  # fmt: skip
"""What a container may ask for; inside its user namespace these reach nothing of the machine."""

_OOM_BEST_EFFORT, _OOM_MIN, _OOM_MAX_BURSTABLE = 1000, 2, 999


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A container's process, before its user is looked up in the image."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    working_dir: str
    user: str
    run_as_user: int | None
    run_as_group: int | None
    must_be_non_root: bool
    capabilities: tuple[str, ...]
    confined: bool
    no_new_privileges: bool
    read_only_rootfs: bool


def plan_process(
    container: Container, image: ImageConfig, facts: PodFacts, sources: Sources
) -> ProcessPlan:
    """Compose command line, environment and rights.

    Raises:
        BadContainer: something it refers to is missing, or it asks for what no container gets.
    """
    declared = declared_variables(container, facts, sources)
    given = {"PATH": DEFAULT_PATH, "HOSTNAME": facts.hostname}
    if container.tty:
        given["TERM"] = "xterm"
    environment = compose_environment(image.env, declared, given)
    known = {name: environment[name] for name, _ in declared}
    pod = facts.spec.security_context or PodSecurityContext()
    own = container.security_context or SecurityContext()
    if own.privileged:
        raise BadContainer("privileged containers are not supported")
    profile = own.seccomp_profile or pod.seccomp_profile
    user = pod.run_as_user if own.run_as_user is None else own.run_as_user
    group = pod.run_as_group if own.run_as_group is None else own.run_as_group
    non_root = pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    return ProcessPlan(
        arguments=compose_arguments(
            container.command, container.args, image.entrypoint, image.cmd, known
        ),
        environment=environment,
        working_dir=container.working_dir or image.working_dir or "/",
        user=image.user,
        run_as_user=user,
        run_as_group=group,
        must_be_non_root=bool(non_root),
        capabilities=plan_capabilities(own),
        confined=profile is None or profile.type != "Unconfined",
        no_new_privileges=not own.allow_privilege_escalation,
        read_only_rootfs=bool(own.read_only_root_filesystem),
    )


def plan_capabilities(context: SecurityContext) -> tuple[str, ...]:
    """The capabilities of a container: none but those it adds.

    Raises:
        BadContainer: one that reaches beyond its namespaces.
    """
    if context.capabilities is None:
        return ()
    names = [name.removeprefix("CAP_").upper() for name in context.capabilities.add]
    wanted = ALL_CAPABILITIES if "ALL" in names else tuple(sorted(set(names)))
    for name in wanted:
        if name not in ALL_CAPABILITIES:
            raise BadContainer(f"capability {name} is not given to containers")
    return wanted


def settle_identity(plan: ProcessPlan, identity: Identity) -> Identity:
    """Check ``runAsNonRoot`` against the looked-up user and set ``HOME``.

    Raises:
        BadContainer: the image runs as root and must not.
    """
    if plan.must_be_non_root and identity.uid == 0:
        raise BadContainer(
            "container has runAsNonRoot and image will run as root; set runAsUser to another user"
        )
    plan.environment.setdefault("HOME", identity.home)
    return identity


def plan_limits(container: Container, max_pids: int) -> Limits:
    """The container's limits as numbers."""
    resources = container.resources
    limits = (resources.limits if resources else None) or {}
    requests = (resources.requests if resources else None) or {}
    cpu_limit = milli_units(limits["cpu"]) if "cpu" in limits else None
    request = milli_units(requests["cpu"]) if "cpu" in requests else (cpu_limit or 0)
    memory = whole_units(limits["memory"], Decimal(1)) if "memory" in limits else None
    return Limits(
        cpu_request_milli=request, cpu_limit_milli=cpu_limit, memory_bytes=memory, pids=max_pids
    )


def plan_oom_score(container: Container, machine_bytes: int, own_score: int) -> int:
    """The kernel's preference for killing this container, by Kubernetes' formula.

    Never less than the agent's own: lowering it needs a capability that may be missing.
    """
    resources = container.resources
    requests = (resources.requests if resources else None) or {}
    limits = (resources.limits if resources else None) or {}
    quantity = requests.get("memory", limits.get("memory"))
    if quantity is None:
        return _OOM_BEST_EFFORT
    share = 1000 * whole_units(quantity) // max(1, machine_bytes)
    return max(own_score, min(_OOM_MAX_BURSTABLE, max(_OOM_MIN, 1000 - share)))
