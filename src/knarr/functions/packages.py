"""Installing dependencies into a layer, cached by what was asked for.

uv installs when it is on PATH or beside this interpreter, otherwise pip. ``build-cache/<hash>.tar`` holds the
finished layer: a rebuild with the same requirement files needs neither network nor installer. At most 16
layers are kept, the least recently used go.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from knarr.functions.errors import BuildError
from knarr.functions.plan import Requirements
from knarr.functions.tarball import LayerWriter, cache_name, compiled
from knarr.node.images.files import remove_tree, temporary_name

_KEPT = 16
_TAIL_LINES = 25
_LINE_BYTES = 64 * 1024
_LOCAL = re.compile(r"^\s*(-e\b|--editable\b|\.{1,2}(/|$)|/|file:|.*@\s*file:)", re.MULTILINE)
_FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Target:
    """What packages are installed for.

    Attributes:
        site: directory inside the image.
        scripts: directory inside the image for console scripts.
        python: the interpreter inside the image, for the scripts' first line.
        version: ``3.11``.
        abi: of this machine's interpreter, or empty when the image brings another.
        cache_tag: to compile for, or empty not to compile.
        foreign: platform tags when the image has its own interpreter; then only wheels can be installed.
    """

    site: str
    scripts: str
    python: str
    version: str
    abi: str = ""
    cache_tag: str = ""
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Installer:
    """A program that installs packages: its argument vector up to ``install``."""

    name: str
    argv: tuple[str, ...]


def find_installer() -> Installer:
    """Uv or pip.

    Raises:
        BuildError: neither is there.
    """
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        return Installer(
            "uv", (uv, "pip", "install", "--python", sys.executable, "--link-mode", "copy")
        )
    if importlib.util.find_spec("pip") is not None:
        quiet = (
            "--no-input",
            "--disable-pip-version-check",
            "--no-warn-script-location",
            "--no-compile",
        )
        return Installer("pip", (sys.executable, "-m", "pip", "install", *quiet))
    raise BuildError("dependencies need uv or pip: install one of them (apt install python3-pip)")


def install_command(
    installer: Installer, requirements: Requirements, target: Target, directory: Path
) -> tuple[str, ...]:
    """The argument vector; requirement files are named relative to the working directory. Pure."""
    argv = [*installer.argv, "--target", str(directory)]
    if target.foreign:
        argv += ["--python-version", target.version, "--only-binary", ":all:"]
        if installer.name == "uv":
            argv += ["--python-platform", target.foreign[0]]
        else:
            for tag in target.foreign[1:]:
                argv += ["--platform", tag]
    if requirements.main:
        argv += ["-r", requirements.main]
    return (*argv, *requirements.extra)


def cache_key(requirements: Requirements, target: Target) -> str:
    """Names the layer; empty when it must not be cached because it installs local folders. Pure."""
    texts = "\0".join(f"{name}\0{text}" for name, text in requirements.files)
    if _LOCAL.search("\n".join(text for _, text in requirements.files)):
        return ""
    parts = (_FORMAT, texts, requirements.main, *requirements.extra, repr(target))
    return hashlib.sha256("\0\0".join(parts).encode()).hexdigest()[:32]


async def dependency_layer(
    source: Path,
    requirements: Requirements,
    target: Target,
    *,
    cache: Path,
    scratch: Path,
    refresh: bool,
    tell: Callable[[str], None],
) -> Path:
    """The path of an uncompressed tar with the packages; the caller copies it, it belongs to the cache.

    Args:
        source: the folder, working directory of the installer.
        requirements: what to install.
        target: for which interpreter, and where in the image.
        cache: ``build-cache``.
        scratch: for unfinished work, on the same file system.
        refresh: install again although the cache has it.
        tell: receives lines for people.

    Raises:
        BuildError: the installer failed; ``details`` are its last lines.
    """
    key = cache_key(requirements, target)
    cached = cache / f"{key or 'local'}.tar"
    if key and not refresh and cached.is_file():
        tell("dependencies unchanged, taken from the cache")
        os.utime(cached)
        return cached
    installer = find_installer()
    directory = temporary_name(scratch, "site")
    archive = temporary_name(scratch, "deps.tar")
    try:
        directory.mkdir()
        tell(f"installing dependencies with {installer.name}")
        await _run(install_command(installer, requirements, target, directory), source, tell)
        await asyncio.to_thread(_pack, directory, archive, target, cached)
    finally:
        archive.unlink(missing_ok=True)
        await asyncio.to_thread(remove_tree, directory)
    _evict(cache)
    return cached


async def _run(argv: tuple[str, ...], directory: Path, tell: Callable[[str], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    tail: list[str] = []
    try:
        async for line in _lines(process.stdout):
            tail = [*tail[-_TAIL_LINES + 1 :], line]
            tell(line)
        code = await process.wait()
    except BaseException:
        # The whole session: installers start compilers.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if code != 0:
        raise BuildError(f"installing dependencies failed (exit code {code})", "\n".join(tail))


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    assert stream is not None
    pending = b""
    while chunk := await stream.read(_LINE_BYTES):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").strip()
        pending = pending[-_LINE_BYTES:]
    if pending.strip():
        yield pending.decode("utf-8", "replace").strip()


def _pack(directory: Path, archive: Path, target: Target, cached: Path) -> None:
    """Turn an installed directory into a layer: scripts get the image's interpreter, modules a ``.pyc``."""
    with LayerWriter(archive) as writer:
        writer.directory(target.site)
        for path in sorted(directory.rglob("*")):
            relative = path.relative_to(directory).as_posix()
            if "__pycache__" in path.parts or relative == ".lock" or path.is_dir():
                continue
            if relative.startswith("bin/"):
                data = rewrite_shebang(path.read_bytes(), target.python)
                writer.data(f"{target.scripts}/{relative.removeprefix('bin/')}", data, mode=0o755)
                continue
            place = f"{target.site}/{relative}"
            if path.is_symlink():
                writer.link(place, str(path.readlink()))
                continue
            writer.file(place, path, executable=os.access(path, os.X_OK))
            if target.cache_tag and path.suffix == ".py":
                code = compiled(path.read_bytes(), place)
                if code is not None:
                    writer.data(cache_name(place, target.cache_tag), code)
    cached.parent.mkdir(parents=True, exist_ok=True)
    archive.replace(cached)


def rewrite_shebang(script: bytes, python: str) -> bytes:
    """Let a console script run on the image's interpreter instead of the one that installed it. Pure."""
    first, _, rest = script.partition(b"\n")
    if first.startswith(b"#!/bin/sh") and rest.startswith(b"'''exec'"):
        # The form for interpreter paths that are too long for a first line: two more lines of shell.
        rest = rest.partition(b"\n")[2].partition(b"\n")[2]
        return b"#!" + python.encode() + b"\n" + rest
    if first.startswith(b"#!") and b"python" in first:
        return b"#!" + python.encode() + b"\n" + rest
    return script


def _evict(cache: Path) -> None:
    layers = sorted(cache.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in layers[_KEPT:]:
        path.unlink(missing_ok=True)
