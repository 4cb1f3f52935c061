"""A container's OCI configuration, from decisions already made. Pure.

Source: OCI runtime specification 1.0.2; the container contract of Knative's ``runtime-contract.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from knarr.meta.errors import KnarrError
from knarr.node.namespaces import ID_RANGE
from knarr.node.users import Identity

OCI_VERSION = "1.0.2"
_MIN_SHARES, _MAX_SHARES = 2, 262_144
_PERIOD_US, _MIN_QUOTA_US = 100_000, 1_000

_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - in the container
_RESERVED_TARGETS = ("/", "/proc", "/sys", "/dev")


class BadContainer(KnarrError):
    """The container's configuration cannot be realised (``CreateContainerConfigError``)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use; None is no limit.

    Attributes:
        cpu_request_milli: thousandths of a core, decides the share under contention.
        cpu_limit_milli: thousandths of a core.
        memory_bytes: swap is not added to it.
        pids: processes and threads.
    """

    cpu_request_milli: int = 0
    cpu_limit_milli: int | None = None
    memory_bytes: int | None = None
    pids: int = 4096


@dataclass(frozen=True, slots=True)
class Bind:
    """A host path that appears in the container; an ``exact`` one is Knarr's own and may lie in ``/dev``."""

    source: str
    target: str
    read_only: bool = False
    exact: bool = False


@dataclass(frozen=True, slots=True)
class NamespacePaths:
    """Where the sandbox's namespaces are mounted; without ``ipc`` the container gets one of its own."""

    user: str
    network: str
    ipc: str = ""


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """Everything that goes into ``config.json``.

    Attributes:
        id_base: first id outside, see ``namespaces.id_base``.
        capabilities: without ``CAP_``; every set gets these and no others.
        seccomp: profile, or None for unconfined.
        cgroup_path: absolute within each hierarchy.
        oom_score_adj: at least the agent's own.
        open_files: limit of descriptors, at most the agent's own.
        terminal: the process gets one of its own.
        unified_cgroups: limits are written for version 2.
    """

    hostname: str
    rootfs: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_dir: str
    identity: Identity
    id_base: int
    namespaces: NamespacePaths
    cgroup_path: str
    limits: Limits
    binds: tuple[Bind, ...] = ()
    capabilities: tuple[str, ...] = ()
    seccomp: Mapping[str, Any] | None = None
    read_only_rootfs: bool = False
    oom_score_adj: int = 0
    unified_cgroups: bool = False
    no_new_privileges: bool = True
    open_files: int = 1024
    terminal: bool = False


def oci_config(container: ContainerConfig) -> dict[str, Any]:
    """The document of ``config.json``.

    Raises:
        BadContainer: no command, or a mount or working directory that is not a clean absolute path.
    """
    if not container.arguments or not container.arguments[0]:
        raise BadContainer("no command specified: neither the container nor its image names one")
    mapping = [{"containerID": 0, "hostID": container.id_base, "size": ID_RANGE}]
    linux: dict[str, Any] = {
        "uidMappings": mapping,
        "gidMappings": mapping,
        "namespaces": _namespaces(container.namespaces),
        "cgroupsPath": container.cgroup_path,
        "resources": _resources(container.limits, unified=container.unified_cgroups),
        # Ports below 1024 need no capability: the network is the sandbox's own.
        "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
    }
    if container.seccomp is not None:
        linux["seccomp"] = container.seccomp
    return {
        "ociVersion": OCI_VERSION,
        "hostname": container.hostname,
        "root": {"path": container.rootfs, "readonly": container.read_only_rootfs},
        "process": _process(container),
        "mounts": [*_kernel_mounts(), *(_bind_mount(bind) for bind in container.binds)],
        "linux": linux,
    }


def _process(container: ContainerConfig) -> dict[str, Any]:
    capabilities = [f"CAP_{name}" for name in container.capabilities]
    identity = container.identity
    for name, value in container.environment.items():
        if "\0" in name or "\0" in value or not name or "=" in name:
            raise BadContainer(f"environment variable {name!r} cannot be set")
    return {
        "terminal": container.terminal,
        "user": {
            "uid": identity.uid,
            "gid": identity.gid,
            "additionalGids": list(identity.groups),
        },
        "args": list(container.arguments),
        "env": [f"{name}={value}" for name, value in container.environment.items()],
        "cwd": clean_path(container.working_dir or "/", "workingDir"),
        "capabilities": dict.fromkeys(_CAPABILITY_SETS, capabilities),
        "rlimits": [
            {"type": "RLIMIT_NOFILE", "hard": container.open_files, "soft": container.open_files},
            {"type": "RLIMIT_CORE", "hard": 0, "soft": 0},
        ],
        "noNewPrivileges": container.no_new_privileges,
        "oomScoreAdj": max(0, container.oom_score_adj),
    }


def _namespaces(paths: NamespacePaths) -> list[dict[str, str]]:
    result = [{"type": kind} for kind in ("pid", "mount", "uts", "cgroup")]
    result.append({"type": "ipc", "path": paths.ipc} if paths.ipc else {"type": "ipc"})
    result.append({"type": "network", "path": paths.network})
    result.append({"type": "user", "path": paths.user})
    return result


def _kernel_mounts() -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    return [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts",
               ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount(_SHARED_MEMORY, "tmpfs", "shm", [*safe, "mode=1777", "size=65536k"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
        _mount("/sys", "sysfs", "sysfs", [*safe, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, "relatime", "ro"]),
    ]  # fmt: skip


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _bind_mount(bind: Bind) -> dict[str, Any]:
    target = clean_path(bind.target, "mountPath")
    for reserved in _RESERVED_TARGETS:
        inside = reserved != "/" and target.startswith(f"{reserved}/")
        free = bind.exact or target.startswith(_SHARED_MEMORY)
        if target == reserved or (inside and not free):
            raise BadContainer(f"mountPath {target}: nothing can be mounted there")
    options = ["rbind", "rprivate", "nosuid", "nodev", "ro" if bind.read_only else "rw"]
    return _mount(target, "bind", bind.source, options)


def clean_path(path: str, field: str) -> str:
    """An absolute path without ``..`` and without a way into ``/proc``.

    Raises:
        BadContainer: it is something else (CVE-2024-21626 entered by a working directory).
    """
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise BadContainer(f"{field} {path!r} is not an absolute path without '..'")
    if pure.parts[1:2] == ("proc",) and field == "workingDir":
        raise BadContainer(f"{field} {path!r} lies in /proc")
    return "/" + "/".join(part for part in pure.parts if part not in ("/", "//"))


def _resources(limits: Limits, *, unified: bool) -> dict[str, Any]:
    cpu: dict[str, int] = {"shares": cpu_shares(limits.cpu_request_milli)}
    if limits.cpu_limit_milli is not None:
        quota = limits.cpu_limit_milli * _PERIOD_US // 1000
        cpu |= {"period": _PERIOD_US, "quota": max(_MIN_QUOTA_US, quota)}
    resources: dict[str, Any] = {
        "devices": [{"allow": False, "access": "rwm"}],
        "cpu": cpu,
        "pids": {"limit": limits.pids},
    }
    if limits.memory_bytes is not None:
        memory = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
        resources["memory"] = memory
    if unified and limits.memory_bytes is not None:
        # The whole container ends when one of its processes is killed, as with version 1's init.
        resources["unified"] = {"memory.oom.group": "1"}
    return resources


def cpu_shares(request_milli: int) -> int:
    """Kubernetes' conversion: 1,024 shares per core, never under the kernel's minimum."""
    return min(_MAX_SHARES, max(_MIN_SHARES, request_milli * 1024 // 1000))
