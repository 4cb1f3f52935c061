"""``build_image``: a source folder becomes an image in the store."""

import asyncio
import datetime as dt
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knarr.functions.errors import BuildError
from knarr.functions.folder import Folder, read_folder
from knarr.functions.hostbase import (
    USER,
    VENV,
    HostBase,
    Interpreter,
    plan_host_base,
    site_packages,
    this_interpreter,
    write_host_layer,
)
from knarr.functions.packages import Target, dependency_layer
from knarr.functions.plan import APP_DIRECTORY, PYTHON, BuildPlan, plan_build
from knarr.functions.tarball import LayerWriter, cache_name, compiled
from knarr.kits.clock import format_timestamp
from knarr.node.images.blobs import StoredBlob
from knarr.node.images.catalog import read_manifest
from knarr.node.images.errors import InvalidReference
from knarr.node.images.files import temporary_name
from knarr.node.images.manifests import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, host_platform
from knarr.node.images.records import (
    Credentials,
    HostBind,
    ImageRecord,
    Progress,
    ProgressEvent,
    no_progress,
)
from knarr.node.images.reference import LOCAL_REGISTRY, parse_reference
from knarr.node.images.store import HOST_LABEL, ImageStore

HOST = "host"
_KEPT_BUILDS = 10


@dataclass(frozen=True, slots=True)
class _Base:
    """What the folder's layers go on top of.

    Attributes:
        layers: (descriptor, diff id), bottom first.
        config: the base image's ``config`` section.
        python: the interpreter's path or name inside the image.
        target: for dependencies; None when they cannot be installed, ``why_not`` says why.
        interpreter: to compile for, when it is this process's own.
    """

    layers: tuple[tuple[dict[str, Any], str], ...]
    config: dict[str, Any]
    python: str
    target: Target | None
    why_not: str = ""
    interpreter: Interpreter | None = None
    binds: tuple[HostBind, ...] = ()


async def build_image(  # noqa: PLR0913 - what a build depends on
    path: Path,
    store: ImageStore,
    *,
    name: str,
    now: dt.datetime,
    base: str = HOST,
    progress: Progress = no_progress,
    credentials: Mapping[str, Credentials] | None = None,
    refresh: bool = False,
) -> ImageRecord:
    """Build a folder into ``knarr.local/<name>:<12 digits of the digest>`` and ``:latest``.

    The same content gives the same digest: ``now`` only counts when something else changed. The ten latest
    builds of a name keep their reference, older ones lose it.

    Args:
        path: the folder.
        store: receives the image.
        name: repository below ``knarr.local``.
        now: becomes the image's creation time.
        base: ``host``, or an image reference (pulled when absent).
        progress: told every step; some calls come from a thread.
        credentials: for pulling the base.
        refresh: install dependencies again although the cache has them.

    Raises:
        BuildError: the folder, the plan, or the installer.
        ImageError: the base image or the store.
    """
    repository = _repository(name)

    def tell(text: str) -> None:
        progress(ProgressEvent(stage="install", subject=name, message=text))

    folder = await asyncio.to_thread(read_folder, path)
    plan = plan_build(folder, platform.machine())
    progress(ProgressEvent(stage="plan", subject=name, message=f"found {plan.why}"))
    for note in plan.notes:
        progress(ProgressEvent(stage="plan", subject=name, message=note))
    async with store.changing():
        found = await _find_base(store, base, plan, progress, credentials or {})
        layers = list(found.layers)
        if plan.requirements:
            layers.append(await _dependencies(store, path, plan, found, refresh=refresh, tell=tell))
        progress(
            ProgressEvent(stage="pack", subject=name, message=f"packing {len(folder.files)} files")
        )
        layers.append(
            await asyncio.to_thread(
                _write_layer, store, _SourceLayer(path, folder, found.interpreter)
            )
        )
        config = _image_config(plan, found, layers, base)
        return _commit(store, repository, config, layers, found.binds, now)


def _repository(name: str) -> str:
    text = f"{LOCAL_REGISTRY}/{name}"
    try:
        parsed = parse_reference(text)
    except InvalidReference as error:
        raise BuildError(
            f"{name!r} cannot be an image name: {error.hint}; choose one with --name"
        ) from error
    if parsed.digest or str(parsed) != f"{text}:latest":
        raise BuildError(f"{name!r} must be a bare image name, without tag or digest")
    return text


# --- layers -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _SourceLayer:
    """The folder below ``/app``."""

    path: Path
    folder: Folder
    interpreter: Interpreter | None

    def __call__(self, writer: LayerWriter) -> None:
        writer.directory(APP_DIRECTORY)
        for name, entry in self.folder.files.items():
            place = f"{APP_DIRECTORY}/{name}"
            if entry.kind == "link":
                writer.link(place, entry.target)
                continue
            writer.file(place, self.path / name, executable=entry.executable)
            if self.interpreter is not None and name.endswith(".py"):
                code = compiled((self.path / name).read_bytes(), place)
                if code is not None:
                    writer.data(cache_name(place, self.interpreter.cache_tag), code)


def _write_layer(
    store: ImageStore, fill: Callable[[LayerWriter], None]
) -> tuple[dict[str, Any], str]:
    archive = temporary_name(store.scratch, "layer.tar")
    try:
        with LayerWriter(archive) as writer:
            fill(writer)
        return _store_layer(store, archive)
    except FileNotFoundError as error:
        raise BuildError(f"{error.filename} vanished during the build") from error
    finally:
        archive.unlink(missing_ok=True)


def _store_layer(store: ImageStore, archive: Path) -> tuple[dict[str, Any], str]:
    with archive.open("rb") as file:
        blob = store.blobs.put_stream(file, limit=store.limits.layer_bytes)
    return _descriptor(OCI_LAYER, blob), blob.digest


def _descriptor(media_type: str, blob: StoredBlob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size_bytes}


async def _dependencies(
    store: ImageStore,
    path: Path,
    plan: BuildPlan,
    base: _Base,
    *,
    refresh: bool,
    tell: Callable[[str], None],
) -> tuple[dict[str, Any], str]:
    if base.target is None:
        raise BuildError(f"dependencies cannot be installed for this base: {base.why_not}")
    archive = await dependency_layer(
        path,
        plan.requirements,
        base.target,
        cache=store.root / "build-cache",
        scratch=store.scratch,
        refresh=refresh,
        tell=tell,
    )
    return await asyncio.to_thread(_store_layer, store, archive)


# --- bases --------------------------------------------------------------------------------------------


async def _find_base(
    store: ImageStore,
    base: str,
    plan: BuildPlan,
    progress: Progress,
    credentials: Mapping[str, Credentials],
) -> _Base:
    if base == HOST:
        return await asyncio.to_thread(_host_base, store, plan)
    record = await store.ensure(
        base, policy="IfNotPresent", credentials=credentials, progress=progress
    )
    root = await store.layers(record, progress)
    musl = any(
        any((directory / "lib").glob("ld-musl-*"))
        for directory in root.lower_dirs
        if directory.is_dir()
    )
    return _image_base(store, record, musl=musl)


def _host_base(store: ImageStore, plan: BuildPlan) -> _Base:
    interpreter = this_interpreter() if plan.python else None
    host: HostBase = plan_host_base(interpreter)
    layer = _write_layer(store, lambda writer: write_host_layer(writer, host, interpreter))
    target = None
    if interpreter is not None:
        target = Target(
            site=site_packages(interpreter.version),
            scripts=f"{VENV}/bin",
            python=f"{VENV}/bin/python3",
            version=interpreter.version,
            abi=interpreter.abi,
            cache_tag=interpreter.cache_tag,
        )
    return _Base(
        layers=(layer,),
        config={"Env": list(host.env), "User": f"{USER}:{USER}"},
        python=f"{VENV}/bin/python3",
        target=target,
        interpreter=interpreter,
        binds=host.binds,
    )


def _image_base(store: ImageStore, record: ImageRecord, *, musl: bool) -> _Base:
    manifest = read_manifest(
        store.blobs.read(record.digest, store.limits.manifest_bytes), record.reference, store.limits
    )
    raw = json.loads(store.blobs.read(manifest.config.digest, store.limits.config_bytes))
    config = dict(raw.get("config") or {})
    layers = tuple(
        (
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size},
            known.diff_id,
        )
        for layer, known in zip(manifest.layers, record.layers, strict=True)
    )
    env = dict(item.partition("=")[::2] for item in record.config.env)
    version = ".".join(env.get("PYTHON_VERSION", "").split(".")[:2])
    target = None
    if version:
        target = Target(
            site="/deps", scripts="/deps/bin", python="/usr/bin/env python3", version=version,
            foreign=_platform_tags(platform.machine(), musl=musl),
        )  # fmt: skip
    return _Base(
        layers=layers,
        config=config,
        python=PYTHON,
        target=target,
        why_not=f"{record.reference} does not say its Python version (PYTHON_VERSION): use a python: image",
        binds=record.host_binds,
    )


def _platform_tags(machine: str, *, musl: bool) -> tuple[str, ...]:
    """Uv's name of the platform, then pip's tags."""
    if musl:
        return (
            f"{machine}-unknown-linux-musl",
            f"musllinux_1_2_{machine}",
            f"musllinux_1_1_{machine}",
        )
    tags = (f"manylinux_2_28_{machine}", f"manylinux_2_17_{machine}", f"manylinux2014_{machine}")
    return (f"{machine}-unknown-linux-gnu", *tags)


# --- image --------------------------------------------------------------------------------------------


def _image_config(
    plan: BuildPlan, base: _Base, layers: list[tuple[dict[str, Any], str]], base_name: str
) -> dict[str, Any]:
    """The configuration without its creation time."""
    command = list(plan.command)
    if command[0] == PYTHON:
        command[0] = base.python
    env = dict(item.partition("=")[::2] for item in base.config.get("Env") or ())
    python_path = list(plan.python_path)
    if base.target is not None and base.target.foreign and plan.requirements:
        python_path.append(base.target.site)
        env["PATH"] = f"{base.target.scripts}:{env.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    if python_path:
        env["PYTHONPATH"] = ":".join(python_path)
    config = {
        **base.config,
        "Env": [f"{key}={value}" for key, value in env.items()],
        "Entrypoint": command,
        "Cmd": [],
        "WorkingDir": APP_DIRECTORY,
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {**(base.config.get("Labels") or {}), HOST_LABEL: base_name},
    }
    return {
        "architecture": host_platform().architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
    }


def _commit(
    store: ImageStore,
    repository: str,
    config: dict[str, Any],
    layers: list[tuple[dict[str, Any], str]],
    binds: tuple[HostBind, ...],
    now: dt.datetime,
) -> ImageRecord:
    """Write configuration and manifest, unless the latest build was the same."""
    latest = store.resolve(f"{repository}:latest")
    created = format_timestamp(now)
    if latest is not None and latest.host_binds == binds and _same(store, latest, config):
        created = latest.created
    data = json.dumps({"created": created, **config}, separators=(",", ":")).encode()
    stored = store.blobs.put(data)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(OCI_CONFIG, stored),
        "layers": [descriptor for descriptor, _ in layers],
    }
    encoded = json.dumps(manifest, separators=(",", ":")).encode()
    record = store.add_image(encoded, [f"{repository}:latest"], host_binds=binds)
    short = f"{repository}:{record.digest.removeprefix('sha256:')[:12]}"
    record = store.add_image(encoded, [short], host_binds=binds)
    _forget_old_builds(store, repository, keep=short)
    return record


def _same(store: ImageStore, image: ImageRecord, config: dict[str, Any]) -> bool:
    try:
        manifest = read_manifest(
            store.blobs.read(image.digest, store.limits.manifest_bytes),
            image.reference,
            store.limits,
        )
        old = json.loads(store.blobs.read(manifest.config.digest, store.limits.config_bytes))
    except FileNotFoundError:
        return False
    old.pop("created", None)
    return bool(old == config)


def _forget_old_builds(store: ImageStore, repository: str, keep: str) -> None:
    builds = [
        record
        for record in store.list()
        if record.reference == f"{repository}:{record.digest.removeprefix('sha256:')[:12]}"
        and record.reference != keep
    ]
    builds.sort(key=lambda record: record.created, reverse=True)
    for record in builds[_KEPT_BUILDS - 1 :]:
        store.remove(record.reference)
