"""Whether this machine can run containers, and what to do when it cannot."""

import ipaddress
import os
import shutil
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from knarr.meta.objects import Key
from knarr.node import programs
from knarr.node.cgroups import detect_cgroups
from knarr.node.firewall import FirewallRules
from knarr.node.routing.table import RouteTable, TableSettings
from knarr.node.routing.targets import PortRoute, Target
from knarr.node.runc import judge_version

_CONTROLLERS = ("cpu", "memory", "pids")
_MIN_FREE_BYTES = 1024 * 1024 * 1024
_MIN_KERNEL = (5, 19)


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at.

    Attributes:
        fatal: containers cannot run while this is not ok; otherwise a warning.
        detail: what was found.
        remedy: the command that mends it, or empty.
    """

    name: str
    ok: bool
    detail: str
    fatal: bool = False
    remedy: str = ""


def examine(
    data_dir: Path, runtime: str = "runc", ports: Iterable[tuple[str, int]] = ()
) -> list[Finding]:
    """Look at everything; takes well under a second and changes nothing.

    Args:
        data_dir: of the instance; need not exist.
        runtime: the OCI runtime program.
        ports: addresses and ports that must be free.
    """
    checks: list[Callable[[], Finding]] = [
        _check_root,
        _check_kernel,
        lambda: _check_runtime(runtime),
        lambda: _check_runtime_fixes(runtime),
        _check_nft,
        _check_service_routing,
        _check_cgroups,
        _check_user_namespaces,
        _check_filesystems,
        lambda: _check_disk(data_dir),
    ]
    findings = [check() for check in checks]
    findings += [_check_port(address, port) for address, port in ports]
    return findings


def _check_root() -> Finding:
    return Finding(
        name="root",
        ok=os.geteuid() == 0,
        detail=f"running as uid {os.geteuid()}; containers need root",
        fatal=True,
        remedy="sudo knarr up",
    )


def _check_kernel() -> Finding:
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    return Finding(
        name="kernel",
        ok=numbers >= _MIN_KERNEL,
        detail=f"Linux {release}; idmapped layers need 5.19 or later",
        fatal=True,
        remedy="apt-get install --yes linux-image-amd64 && reboot",
    )


def _check_runtime(runtime: str) -> Finding:
    found = shutil.which(runtime)
    return Finding(
        name="oci-runtime",
        ok=found is not None,
        detail=f"{runtime} at {found}" if found else f"{runtime} is not installed",
        fatal=True,
        remedy=f"apt-get install --yes {Path(runtime).name}",
    )


def _check_runtime_fixes(runtime: str) -> Finding:
    output = programs.run_blocking((runtime, "--version"), timeout_s=10)
    version = judge_version(output.stdout.decode(errors="replace"))
    if output.code:
        return Finding(name="oci-runtime-fixes", ok=False, detail=f"{runtime} --version failed")
    lacks = "; ".join(version.missing)
    return Finding(
        name="oci-runtime-fixes",
        ok=not version.missing,
        detail=f"{version.text} lacks {lacks}" if lacks else f"{version.text} has all known fixes",
        remedy="go install -tags seccomp github.com/opencontainers/runc@latest "
        "&& install ~/go/bin/runc /usr/local/sbin/runc",
    )


def _check_nft() -> Finding:
    network = ipaddress.IPv4Network("192.0.2.0/24")
    problem = _refusal(FirewallRules("knarr-doctor", "knarr-doctor", network, "192.0.2.1").text())
    return Finding(
        name="nftables",
        ok=not problem,
        detail=problem or "nft works",
        fatal=True,
        remedy="apt-get install --yes nftables",
    )


def _refusal(rules: str) -> str:
    """What nft or the kernel has against rules, which are checked and not carried out; empty for nothing."""
    argv = ("nft", "--check", "--file", "-")
    output = programs.run_blocking(argv, data=rules.encode(), timeout_s=10)
    if output.code == 0:
        return ""
    said = output.stderr.decode(errors="replace").strip().splitlines()
    return said[0] if said else f"nft ended with {output.code}"


def _check_service_routing() -> Finding:
    """A transaction that uses all that cluster IPs need."""
    settings = TableSettings(
        table="knarr-doctor",
        link_prefix="knarr-doctor",
        network=ipaddress.IPv4Network("192.0.2.0/24"),
        gateway="192.0.2.1",
    )
    table = RouteTable(settings)
    targets = (Target("192.0.2.2", 80), Target("192.0.2.3", 80))
    route = PortRoute(Key("a", "b"), "", "tcp", "192.0.2.9", 80, 30000, 10, targets)
    table.change({Key("a", "b"): (route, replace(route, name="c", port=81, affinity_s=0))})
    problem = _refusal(table.full())
    return Finding(
        name="nftables-services",
        ok=not problem,
        detail=f"cluster IPs and node ports do not work: {problem}"
        if problem
        else "the kernel can send connections on to Pods",
        remedy="modprobe -a nft_chain_nat nft_fib_ipv4 nft_numgen nft_reject_ipv4  "
        "# or boot a kernel with CONFIG_NFT_NAT, _FIB_IPV4, _NUMGEN and _REJECT",
    )


def _check_cgroups() -> Finding:
    cgroups = detect_cgroups()
    if cgroups.unified:
        try:
            text = (cgroups.root / "cgroup.controllers").read_text(encoding="ascii")
        except OSError:
            text = ""
        present = set(text.split())
    else:
        root = cgroups.root
        present = {one.name for one in root.iterdir()} if root.is_dir() else set()
    missing = [name for name in _CONTROLLERS if name not in present]
    version = 2 if cgroups.unified else 1
    return Finding(
        name="cgroups",
        ok=not missing,
        detail=f"version {version}; missing controllers: {', '.join(missing) or 'none'}",
        fatal=True,
        remedy="boot with: cgroup_enable=memory" if missing else "",
    )


def _check_user_namespaces() -> Finding:
    path = Path("/proc/sys/user/max_user_namespaces")
    try:
        limit = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        limit = 0
    return Finding(
        name="user-namespaces",
        ok=limit > 0,
        detail=f"at most {limit}",
        fatal=True,
        remedy="sysctl -w user.max_user_namespaces=65536",
    )


def _check_filesystems() -> Finding:
    known = Path("/proc/filesystems").read_text(encoding="ascii")
    ok = "\toverlay\n" in known
    return Finding(
        name="overlayfs",
        ok=ok,
        detail="the kernel has overlayfs" if ok else "the kernel has no overlayfs loaded",
        fatal=True,
        remedy="modprobe overlay",
    )


def _check_disk(data_dir: Path) -> Finding:
    existing = next(one for one in (data_dir, *data_dir.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    return Finding(
        name="disk",
        ok=free >= _MIN_FREE_BYTES,
        detail=f"{free // 2**20} MiB free at {existing}; at least {_MIN_FREE_BYTES // 2**20} are needed",
        remedy="knarr image list  # and knarr image rm NAME for what is not needed",
    )


def _check_port(address: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return Finding(
                name=f"port {port}",
                ok=False,
                detail=f"{address}:{port}: {error.strerror}",
                fatal=True,
                remedy=f"ss -ltnp 'sport = :{port}'  # shows who listens there",
            )
    return Finding(name=f"port {port}", ok=True, detail=f"{address}:{port} is free", fatal=True)
