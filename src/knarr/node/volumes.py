"""What a Pod's volumes contain. Pure; ``volumefiles`` writes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from knarr.node.bundle import BadContainer
from knarr.node.claims import ClaimedDirectory
from knarr.node.podfacts import PodFacts, Sources, field_value, resource_value
from knarr.node.quantities import whole_units
from knarr.node.tokens import question_of
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.secret import Secret
from knarr.resources.core.volume import (
    DownwardApiFile,
    EmptyDirVolumeSource,
    KeyToPath,
    ProjectedVolumeSource,
    Volume,
    VolumeProjection,
)

_DEFAULT_MODE = 0o644
_MAX_VOLUME_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """One file of a volume."""

    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Scratch:
    """An empty directory; in memory when ``memory`` holds, of at most ``size_bytes`` then."""

    memory: bool = False
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """A read-only directory of files, by relative path."""

    files: Mapping[str, VolumeFile]


VolumeContent = Scratch | Files | ClaimedDirectory


def volume_content(volume: Volume, facts: PodFacts, sources: Sources) -> VolumeContent:
    """What a volume contains now.

    Raises:
        BadContainer: an object or key that is not optional is missing, a path leaves the volume, or the
            content is larger than 8 MiB.
    """
    if volume.empty_dir is not None:
        return _scratch(volume.empty_dir)
    if volume.projected is not None:
        return _bounded(volume.name, dict(_projected(volume.projected, facts, sources)))
    if volume.config_map is not None:
        source = volume.config_map
        found = sources.config_map(facts.namespace, source.name)
        data = _config_data(found, source.name, optional=bool(source.optional))
        mode = _mode(source.default_mode)
        return _bounded(
            volume.name,
            dict(_pick(data, source.items, mode, optional=bool(source.optional), what=source.name)),
        )
    if volume.secret is not None:
        origin = volume.secret
        secret = sources.secret(facts.namespace, origin.secret_name)
        content = _secret_data(secret, origin.secret_name, optional=bool(origin.optional))
        mode = _mode(origin.default_mode)
        return _bounded(
            volume.name,
            dict(_pick(content, origin.items, mode, optional=bool(origin.optional), what=origin.secret_name)),
        )  # fmt: skip
    if volume.downward_api is not None:
        mode = _mode(volume.downward_api.default_mode)
        return _bounded(volume.name, dict(_downward(volume.downward_api.items, mode, facts)))
    if volume.persistent_volume_claim is not None:
        claim = volume.persistent_volume_claim
        directory = sources.claimed(facts.namespace, claim.claim_name)
        return ClaimedDirectory(directory, read_only=claim.read_only)
    raise BadContainer(f"volume {volume.name!r} names no source")


def _scratch(source: EmptyDirVolumeSource) -> Scratch:
    size = whole_units(source.size_limit) if source.size_limit is not None else None
    return Scratch(memory=source.medium == "Memory", size_bytes=size or None)


def _mode(mode: int | None) -> int:
    return _DEFAULT_MODE if mode is None else mode & 0o777


def _config_data(
    config: ConfigMap | None, name: str, *, optional: bool
) -> Mapping[str, bytes] | None:
    if config is None:
        if optional:
            return None
        raise BadContainer(f'configmap "{name}" not found')
    text = {key: value.encode() for key, value in (config.data or {}).items()}
    return text | dict(config.binary_data or {})


def _secret_data(
    secret: Secret | None, name: str, *, optional: bool
) -> Mapping[str, bytes] | None:  # fmt: skip
    if secret is None:
        if optional:
            return None
        raise BadContainer(f'secret "{name}" not found')
    return dict(secret.data or {})


def _pick(
    data: Mapping[str, bytes] | None,
    items: tuple[KeyToPath, ...],
    mode: int,
    *,
    optional: bool,
    what: str,
) -> Iterator[tuple[str, VolumeFile]]:
    if data is None:
        return
    if not items:
        for key, content in data.items():
            yield _relative(key), VolumeFile(content, mode)
        return
    for item in items:
        if item.key not in data:
            if optional:
                continue
            raise BadContainer(f"references non-existent config key: {item.key} of {what}")
        chosen = mode if item.mode is None else _mode(item.mode)
        yield _relative(item.path), VolumeFile(data[item.key], chosen)


def _relative(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or not all(parts) or any(part.startswith("..") for part in parts):
        raise BadContainer(f"path {path!r} of a volume is not relative, or contains '..'")
    return path


def _projected(
    source: ProjectedVolumeSource, facts: PodFacts, sources: Sources
) -> Iterator[tuple[str, VolumeFile]]:
    mode = _mode(source.default_mode)
    for projection in source.sources:
        yield from _projection(projection, mode, facts, sources)


def _projection(
    projection: VolumeProjection, mode: int, facts: PodFacts, sources: Sources
) -> Iterator[tuple[str, VolumeFile]]:
    if projection.config_map is not None:
        origin = projection.config_map
        config = sources.config_map(facts.namespace, origin.name)
        data = _config_data(config, origin.name, optional=bool(origin.optional))
        yield from _pick(data, origin.items, mode, optional=bool(origin.optional), what=origin.name)
    if projection.secret is not None:
        chosen = projection.secret
        secret = sources.secret(facts.namespace, chosen.name)
        data = _secret_data(secret, chosen.name, optional=bool(chosen.optional))
        yield from _pick(data, chosen.items, mode, optional=bool(chosen.optional), what=chosen.name)
    if projection.downward_api is not None:
        yield from _downward(projection.downward_api.items, mode, facts)
    if projection.service_account_token is not None:
        wanted = projection.service_account_token
        question = question_of(facts, wanted.audience, wanted.expiration_seconds)
        yield _relative(wanted.path), VolumeFile(sources.token(question).encode(), mode)


def _downward(
    items: tuple[DownwardApiFile, ...], mode: int, facts: PodFacts
) -> Iterator[tuple[str, VolumeFile]]:
    for item in items:
        if item.field_ref is not None:
            text = field_value(item.field_ref, facts)
        elif item.resource_field_ref is not None:
            wanted = item.resource_field_ref.container_name
            found = [one for one in facts.spec.containers if one.name == wanted]
            if not found:
                raise BadContainer(f"resourceFieldRef names no container: {wanted!r}")
            text = resource_value(item.resource_field_ref, found[0], facts)
        else:
            raise BadContainer(f"downwardAPI item {item.path!r} names no field")
        yield (
            _relative(item.path),
            VolumeFile(text.encode(), mode if item.mode is None else _mode(item.mode)),
        )


def _bounded(name: str, files: dict[str, VolumeFile]) -> Files:
    size = sum(len(file.content) for file in files.values())
    if size > _MAX_VOLUME_BYTES:
        raise BadContainer(f"volume {name!r} has {size} bytes; at most {_MAX_VOLUME_BYTES} fit")
    return Files(files)
