"""Facts about this machine, read once."""

import os
import platform
import resource
import socket
from dataclasses import dataclass
from pathlib import Path

from knarr.node.cgroups import Cgroups, detect_cgroups
from knarr.node.record import boot_id

_OPEN_FILES = 1_048_576
_UNROUTED = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the node agent needs to know of where it runs.

    Attributes:
        host_ip: the address that other machines would see, or loopback without a network.
        oom_score_adj: the agent's own.
        open_files: what containers may have open; raising the agent's own limit may not be allowed.
    """

    cgroups: Cgroups
    boot: str
    machine: str
    kernel: str
    os_image: str
    hostname: str
    host_ip: str
    memory_bytes: int
    cpus: int
    oom_score_adj: int
    open_files: int


def examine_machine() -> Machine:
    """Read the facts."""
    uname = platform.uname()
    return Machine(
        cgroups=detect_cgroups(),
        boot=boot_id(),
        machine=uname.machine,
        kernel=uname.release,
        os_image=_os_image(),
        hostname=uname.node,
        host_ip=_host_ip(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        cpus=len(os.sched_getaffinity(0)),
        open_files=min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        oom_score_adj=int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii")),
    )


def _os_image() -> str:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return "Linux"
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return "Linux"


def _host_ip() -> str:
    """Connecting a datagram socket sends nothing; it only asks the routing table."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_UNROUTED)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
