"""The base ``host``: this machine's interpreter and libraries, bound read-only, plus a small layer.

The layer has the mount points, the links of a merged ``/usr``, a minimal ``/etc``, and a virtual environment
at ``/venv`` on the host's interpreter: the packages that happen to be installed on the host stay invisible,
and no ``.pth`` file of theirs runs at start. An interpreter outside ``/usr`` appears at ``/opt/python``, so
that a prefix below a home directory with mode 0700 works for any user of the container.
"""

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from knarr.functions.errors import BuildError
from knarr.functions.tarball import LayerWriter
from knarr.node.images.records import HostBind

USER = 65532
VENV = "/venv"
_PREFIX = "/opt/python"
_TOP_LEVEL = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls",
    "/etc/alternatives",
    "/etc/ld.so.cache",
)
_USERS = """root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh
"""
_GROUP = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nnonroot:x:65532:\n"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An installed CPython.

    Attributes:
        prefix: of the base installation, not of a virtual environment.
        executable: resolved path of the program.
        version: ``3.11``.
        cache_tag: ``cpython-311``.
        abi: the extension suffix, part of what dependencies were built for.
        shared: needs its own libpython at run time.
    """

    prefix: Path
    executable: Path
    version: str
    cache_tag: str
    abi: str
    shared: bool


@dataclass(frozen=True, slots=True)
class HostBase:
    """The base as planned.

    Attributes:
        binds: host paths.
        links: names at the root that are links, with their targets.
        files: empty files that are mount points.
        directories: empty directories that are mount points.
        python: path of the real interpreter inside the container, or empty.
        env: ``NAME=value``.
    """

    binds: tuple[HostBind, ...]
    links: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    directories: tuple[str, ...]
    python: str
    env: tuple[str, ...]


def this_interpreter() -> Interpreter:
    """The base interpreter of the running process."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter(
        prefix=Path(sys.base_prefix).resolve(),
        executable=Path(base).resolve(),
        version=f"{sys.version_info.major}.{sys.version_info.minor}",
        cache_tag=sys.implementation.cache_tag or "",
        abi=sysconfig.get_config_var("EXT_SUFFIX") or "",
        shared=bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
    )


def plan_host_base(interpreter: Interpreter | None, root: Path = Path("/")) -> HostBase:
    """Look at this machine and decide the binds.

    Args:
        interpreter: to bring along; None for programs that need none.
        root: of the host's file system (tests).

    Raises:
        BuildError: the interpreter is not below its prefix.
    """
    binds = [HostBind(str(root / "usr"), "/usr")]
    links: list[tuple[str, str]] = []
    files: list[str] = []
    directories: list[str] = []
    for name in _TOP_LEVEL:
        path = root / name
        if path.is_symlink():
            links.append((name, str(path.readlink())))
        elif path.is_dir():
            binds.append(HostBind(str(path), f"/{name}"))
            directories.append(name)
    for target in _ETC:
        source = root / target.lstrip("/")
        if source.exists():
            binds.append(HostBind(str(source), target))
            (directories if source.is_dir() else files).append(target)
    env = [
        f"PATH={VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/home/nonroot",
        "LANG=C.UTF-8",
    ]
    python = ""
    if interpreter is not None:
        python = _place(interpreter, binds, directories, env)
        env += ["PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"]
    return HostBase(
        tuple(binds), tuple(links), tuple(files), tuple(directories), python, tuple(env)
    )


def _place(
    interpreter: Interpreter, binds: list[HostBind], directories: list[str], env: list[str]
) -> str:
    """Where the interpreter is inside the container; adds what it needs."""
    if interpreter.executable.is_relative_to("/usr"):
        return str(interpreter.executable)
    if not interpreter.executable.is_relative_to(interpreter.prefix):
        raise BuildError(
            f"the interpreter {interpreter.executable} is not below its prefix {interpreter.prefix}: "
            "use a base image instead (--base python:3-slim)"
        )
    binds.append(HostBind(str(interpreter.prefix), _PREFIX))
    directories.append(_PREFIX)
    if interpreter.shared:
        env.append(f"LD_LIBRARY_PATH={_PREFIX}/lib")
    return f"{_PREFIX}/{interpreter.executable.relative_to(interpreter.prefix)}"


def write_host_layer(writer: LayerWriter, base: HostBase, interpreter: Interpreter | None) -> None:
    """The layer described above."""
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "var", "app", *base.directories):
        writer.directory(name)
    writer.directory("root", mode=0o700)
    writer.directory("home/nonroot", mode=0o750, owner=USER)
    for name in ("tmp", "var/tmp"):
        writer.directory(name, mode=0o1777)
    for name, target in base.links:
        writer.link(name, target)
    for name in base.files:
        writer.data(name, b"")
    writer.data("etc/passwd", _USERS.encode())
    writer.data("etc/group", _GROUP.encode())
    writer.data("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    for name in ("hosts", "hostname", "resolv.conf"):
        writer.data(f"etc/{name}", b"")
    if interpreter is not None:
        write_venv(writer, base.python, interpreter.version)


def site_packages(version: str) -> str:
    """Where the environment's packages are."""
    return f"{VENV}/lib/python{version}/site-packages"


def write_venv(writer: LayerWriter, python: str, version: str) -> None:
    """A virtual environment as ``venv`` would make it (PEP 405)."""
    home = python.rpartition("/")[0]
    settings = f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"
    writer.data(f"{VENV}/pyvenv.cfg", settings.encode())
    writer.directory(site_packages(version))
    writer.link(f"{VENV}/bin/python3", python)
    for name in ("python", f"python{version}"):
        writer.link(f"{VENV}/bin/{name}", "python3")
