"""CustomResourceDefinitions of Knarr's own custom kinds, made from their models.

One document per resource, fit for any Kubernetes API server: structural schemas, columns as JSON paths,
subresources, short names and categories. ``knarr crds`` prints them; the API server keeps them as objects.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from knarr.resources.columns import CREATED, PathCell
from knarr.resources.kind import Column, Kind
from knarr.resources.schema import Schemas

Document = dict[str, Any]

INSTALL_LABEL = "knative.dev/crd-install"
_IDENTITY = "x-kubernetes-group-version-kind"


def own_definitions(kinds: Iterable[Kind[Any]]) -> Iterator[Document]:
    """The definitions of all kinds among these that are none of Kubernetes' own, in their order."""
    schemas = Schemas()
    for versions in group_versions(kinds):
        yield definition_of(versions, schemas)


def group_versions(kinds: Iterable[Kind[Any]]) -> list[tuple[Kind[Any], ...]]:
    """The custom kinds, those of one resource together."""
    found: dict[str, list[Kind[Any]]] = {}
    for kind in kinds:
        if not kind.builtin:
            found.setdefault(kind.qualified_plural, []).append(kind)
    return [tuple(versions) for versions in found.values()]


def definition_of(versions: tuple[Kind[Any], ...], schemas: Schemas) -> Document:
    """The definition of a resource.

    Args:
        versions: its kinds, one for each version, the preferred one first.
        schemas: makes them.
    """
    kind = versions[0]
    names: Document = {
        "plural": kind.plural,
        "singular": kind.singular or kind.kind.lower(),
        "kind": kind.kind,
        "listKind": kind.listed,
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": kind.qualified_plural,
            "labels": {INSTALL_LABEL: "true", **kind.definition_labels},
        },
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                _version(each, schemas, stored=_is_stored(each, versions)) for each in versions
            ],
            "conversion": {"strategy": "None"},
        },
    }


def _is_stored(kind: Kind[Any], versions: tuple[Kind[Any], ...]) -> bool:
    stored = [each for each in versions if each.stored_as is None]
    return kind is (stored or versions)[0]


def _version(kind: Kind[Any], schemas: Schemas, *, stored: bool) -> Document:
    version: Document = {
        "name": kind.version,
        "served": True,
        "storage": stored,
        "schema": {"openAPIV3Schema": _structural(schemas.of(kind))},
    }
    subresources: Document = {}
    if kind.has_status and "status" in kind.model.__struct_fields__:
        subresources["status"] = {}
    if kind.has_scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
        }
    if subresources:
        version["subresources"] = subresources
    columns = [*map(_column, kind.columns)]
    if kind.age:
        columns.append({"name": "Age", "type": "date", "jsonPath": CREATED})
    version["additionalPrinterColumns"] = [each for each in columns if each["jsonPath"]]
    return version


def _column(column: Column) -> Document:
    path = column.cell.json_path if isinstance(column.cell, PathCell) else ""
    result: Document = {
        "name": column.name,
        "type": "date" if path == CREATED else column.type,
        "jsonPath": path,
    }
    if column.priority:
        result["priority"] = column.priority
    if column.description:
        result["description"] = column.description
    return result


def _structural(schema: Document) -> Document:
    """A schema as a CustomResourceDefinition may hold it: metadata is understood there."""
    properties = {
        name: {"type": "object"} if name == "metadata" else inner
        for name, inner in schema["properties"].items()
    }
    rest = {name: value for name, value in schema.items() if name != _IDENTITY}
    return {**rest, "properties": properties}
