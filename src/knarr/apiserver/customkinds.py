"""From a CustomResourceDefinition to kinds that can be served like any other."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from knarr.apiserver.codecs import CustomCodec
from knarr.apiserver.customobjects import CustomObject
from knarr.apiserver.fieldcheck import shape_of
from knarr.apiserver.served import Served
from knarr.apiserver.structural import CrdVersion, PrinterColumn, selectable_value
from knarr.apiserver.structural.embedded import MetadataCheck
from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import ObjectMeta, Resource
from knarr.resources.columns import human_duration
from knarr.resources.kind import Admission, Column, Kind

_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})(?:(alpha|beta)([1-9][0-9]{0,8}))?")
LoadSchema = Callable[[str], Mapping[str, Any] | None]


def serve_definition(
    definition: Mapping[str, Any],
    since: int,
    check: MetadataCheck | None = None,
    load: LoadSchema | None = None,
) -> list[Served]:
    """The served versions of a definition, ready for ``Registry.put_custom``.

    Args:
        definition: a CustomResourceDefinition that passed ``definition_errors`` and whose names were
            accepted.
        since: objects of this resourceVersion or newer are written under this definition.
        check: judges the metadata of embedded resources.
        load: the schema of a version, by its name; by default that of ``definition``, which is then
            kept in memory.

    Raises:
        BadPath: a version did not pass the checks.
    """
    spec = definition["spec"]
    stored = next(each["name"] for each in spec["versions"] if each.get("storage"))
    closing = bool((definition.get("metadata") or {}).get("deletionTimestamp"))
    return [
        _serve_version(spec, version, stored, since, check, load, closing=closing)
        for version in sorted(spec["versions"], key=_preference)
        if version.get("served")
    ]


def _serve_version(
    spec: Mapping[str, Any],
    version: Mapping[str, Any],
    stored: str,
    since: int,
    check: MetadataCheck | None,
    load: LoadSchema | None,
    *,
    closing: bool,
) -> Served:
    name = version["name"]
    rules = CrdVersion(version, check, None if load is None else lambda: load(name))
    kind = _kind(spec, version, rules)
    codec = CustomCodec(
        rules,
        api_version=kind.api_version,
        stored_version=f"{kind.group}/{stored}",
        has_status=rules.has_status,
        since=since,
    )
    return Served(
        kind=kind,
        collection=kind.qualified_plural,
        codec=codec,
        shape=shape_of(Resource),
        stores_status=rules.has_status,
        counts_generation=True,
        custom=rules,
        closing=closing,
        deprecation=_deprecation(version, kind),
    )


def _deprecation(version: Mapping[str, Any], kind: Kind[Any]) -> str:
    """What a deprecated version warns of."""
    if not version.get("deprecated"):
        return ""
    warning: str | None = version.get("deprecationWarning")
    return f"{kind.api_version} {kind.kind} is deprecated" if warning is None else warning


def _preference(version: Mapping[str, Any]) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: stable ones first, newer ones first, then other names."""
    found = _VERSION.fullmatch(version["name"])
    if found is None:
        return 3, 0, 0, version["name"]
    major, stage, minor = found.groups()
    return {None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), ""


def _kind(spec: Mapping[str, Any], version: Mapping[str, Any], rules: CrdVersion) -> Kind[Any]:
    names = spec["names"]
    paths = [each["jsonPath"] for each in version.get("selectableFields") or ()]
    return Kind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        model=CustomObject,
        singular=names.get("singular") or names["kind"].lower(),
        list_kind=names.get("listKind") or "",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        namespaced=spec["scope"] == "Namespaced",
        has_status=rules.has_status,
        has_scale=rules.scale is not None,
        columns=tuple(_column(each) for each in rules.columns),
        age=False,
        validate=_validator(rules),
        selectable={path.removeprefix("."): _reader(path) for path in paths},
    )


def _column(column: PrinterColumn) -> Column:
    return Column(
        name=column.name,
        type=column.type,
        cell=lambda document, now: column.cell(document, now, human_duration),
        priority=column.priority,
        description=column.description,
        format=column.format,
    )


def _reader(path: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda document: selectable_value(document, path)


def _validator(
    rules: CrdVersion,
) -> Callable[[CustomObject, Admission], tuple[FieldError, ...]]:
    def validate(subject: CustomObject, admission: Admission) -> tuple[FieldError, ...]:
        before = None if admission.old is None else _plain(admission.old)
        if admission.subresource == "status":
            return rules.status_errors(_plain(subject), before or {})
        return rules.errors(_plain(subject), before)

    return validate


def _plain(subject: Resource) -> dict[str, Any]:
    """What schemas judge: the content, with as much of the metadata as they may speak of."""
    metadata: ObjectMeta = subject.metadata
    content = subject.content if isinstance(subject, CustomObject) else {}
    named = {"name": metadata.name, "generateName": metadata.generate_name}
    return {
        "apiVersion": subject.api_version,
        "kind": subject.kind,
        "metadata": {key: value for key, value in named.items() if value},
        **content,
    }
