"""What changed between two specs, in the form in which Knative shows it (``knative.dev/pkg/kmp.ShortDiff``).

Paths name the fields as Go does, because people look for these texts; values are shown as Go's ``%+v``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from knarr.meta.objects import ObjectMeta
from knarr.resources.core import container as containers
from knarr.resources.core import volume as volumes
from knarr.resources.core.podspec import PodSpec
from knarr.resources.serving.podspec import RevisionSpec, RevisionTemplate

_SPECIAL_NAMES = {
    "apiVersion": "APIVersion",
    "csi": "CSI",
    "dnsConfig": "DNSConfig",
    "dnsPolicy": "DNSPolicy",
    "fsGroup": "FSGroup",
    "grpc": "GRPC",
    "httpGet": "HTTPGet",
    "httpHeaders": "HTTPHeaders",
    "serviceAccount": "DeprecatedServiceAccount",
    "tcpSocket": "TCPSocket",
    "tty": "TTY",
    "uid": "UID",
}
_POD_SPEC_FIELDS = {field.name for field in msgspec.structs.fields(PodSpec)} | {
    "affinity",
    "topology_spread_constraints",
    "host_aliases",
    "runtime_class_name",
    "share_process_namespace",
    "dns_config",
    "host_network",
    "host_ipc",
    "host_pid",
}
_HANDLERS = frozenset({"exec", "http_get", "tcp_socket", "grpc"})
_REFERENCES: tuple[type[msgspec.Struct], ...] = (
    containers.KeySelector,
    containers.EnvSource,
    volumes.ConfigMapVolumeSource,
    volumes.SecretProjection,
    volumes.ConfigMapProjection,
)
# In Go these numbers are no pointers: 0 stands for absent.
_PLAIN_NUMBERS: tuple[type[msgspec.Struct], ...] = (
    containers.Probe,
    containers.HttpGetAction,
    containers.TcpSocketAction,
    containers.GrpcAction,
)


def short_diff(root: str, old: msgspec.Struct, new: msgspec.Struct) -> str:
    """Every field that differs: its path, the old and the new value; empty when nothing does."""
    return "".join(_struct(root, old, new))


def _embedded(owner: msgspec.Struct, field: str) -> str:
    if isinstance(owner, RevisionTemplate):
        return ".ObjectMeta" if field == "metadata" else ".Spec"
    prefix = ""
    if isinstance(owner, RevisionSpec) and field in _POD_SPEC_FIELDS:
        prefix = ".PodSpec"
    elif isinstance(owner, volumes.Volume) and field != "name":
        prefix = ".VolumeSource"
    elif isinstance(owner, containers.Probe) and field in _HANDLERS:
        prefix = ".ProbeHandler"
    elif isinstance(owner, _REFERENCES) and field == "name":
        prefix = ".LocalObjectReference"
    return prefix + "." + _go_name(owner, field)


def _go_name(owner: msgspec.Struct, field: str) -> str:
    name = next(item.encode_name for item in msgspec.structs.fields(owner) if item.name == field)
    return _SPECIAL_NAMES.get(name, name[:1].upper() + name[1:])


def _struct(path: str, old: msgspec.Struct, new: msgspec.Struct) -> Iterator[str]:
    for field in old.__struct_fields__:
        before, after = getattr(old, field), getattr(new, field)
        if before == after:
            continue
        pointer = not isinstance(old, _PLAIN_NUMBERS)
        if isinstance(old, RevisionTemplate):
            before = before or (ObjectMeta() if field == "metadata" else RevisionSpec())
            after = after or (ObjectMeta() if field == "metadata" else RevisionSpec())
        yield from _value(path + _embedded(old, field), before, after, pointer=pointer)


def _value(path: str, old: Any, new: Any, *, pointer: bool) -> Iterator[str]:
    if old == new:
        return
    match old, new:
        case msgspec.Struct(), msgspec.Struct():
            yield from _struct(path, old, new)
        case tuple(), tuple() if old and new:
            yield from _list(path, old, new)
        case Mapping(), Mapping() if old and new:
            yield from _map(path, old, new)
        case (bool() | int(), bool() | int()):
            yield _entry(f"*{path}" if pointer else path, old, new)
        case _:
            old, new = _typed(old, new)
            yield _entry(path, old, new)


def _typed(old: Any, new: Any) -> tuple[Any, Any]:
    """An absent list or map is shown as an empty one."""
    for kind in (tuple, dict):
        if isinstance(old, kind) or isinstance(new, kind):
            return (kind() if old is None else old), (kind() if new is None else new)
    return old, new


def _list(path: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[str]:
    shared = min(len(old), len(new))
    for index in range(shared):
        yield from _value(f"{path}[{index}]", old[index], new[index], pointer=False)
    for index in range(shared, len(old)):
        yield f"{path}[{index}->?]:\n\t-: {_element(old[index])}\n"
    for index in range(shared, len(new)):
        yield f"{path}[?->{index}]:\n\t+: {_element(new[index])}\n"


def _element(value: Any) -> str:
    kind = f"v1.{type(value).__name__}: " if isinstance(value, msgspec.Struct) else ""
    return f'{kind}"{_shown(value)}"'


def _map(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        lines = "" if key not in old else f'\t-: "{_shown(before)}"\n'
        lines += "" if key not in new else f'\t+: "{_shown(after)}"\n'
        yield f'{path}["{key}"]:\n{lines}'


def _entry(path: str, old: Any, new: Any) -> str:
    return f'{path}:\n\t-: "{_shown(old)}"\n\t+: "{_shown(new)}"\n'


def _shown(value: Any) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case msgspec.Struct():
            fields = (
                f"{_go_name(value, name)}:{_shown(getattr(value, name))}"
                for name in value.__struct_fields__
            )
            return f"{{{' '.join(fields)}}}"
        case tuple() | list():
            return f"[{' '.join(_shown(item) for item in value)}]"
        case Mapping():
            pairs = (f"{key}:{_shown(item)}" for key, item in sorted(value.items()))
            return f"map[{' '.join(pairs)}]"
        case _:
            return str(value)
