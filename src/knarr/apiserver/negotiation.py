"""Which representation of objects a client wants, from its Accept header."""

from dataclasses import dataclass
from typing import Literal

from knarr.meta.errors import NotAcceptable

Form = Literal["object", "table", "metadata", "discovery"]
_META_VERSIONS = frozenset({"v1", "v1beta1"})
_DISCOVERY = ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")
_FORMS: dict[str, Form] = {
    "Table": "table",
    "PartialObjectMetadata": "metadata",
    "PartialObjectMetadataList": "metadata",
}
_JSON = frozenset({"application/json", "*/*", "application/*"})
_YAML = frozenset({"application/yaml"})


@dataclass(frozen=True, slots=True)
class Representation:
    """A form, and the version of the group that defines it."""

    form: Form
    version: str = "v1"
    yaml: bool = False


PLAIN = Representation("object")


def negotiate(accept: str, *, discovery: bool = False) -> Representation:
    """The first clause that this server can serve; protobuf clauses are passed over.

    Args:
        accept: the header, empty means anything.
        discovery: whether aggregated discovery documents are offered here.

    Raises:
        NotAcceptable: nothing that is accepted is offered.
    """
    if accept in ("", "application/json", "*/*"):
        return PLAIN
    protobuf = False
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media == "application/vnd.kubernetes.protobuf":
            protobuf = True
        found = _clause(media, parameters, discovery=discovery)
        if found is not None:
            return found
    if protobuf:
        return PLAIN
    raise NotAcceptable(
        "only the following media types are accepted: application/json, application/yaml"
    )


def _clause(media: str, parameters: list[str], *, discovery: bool) -> Representation | None:
    if media in _YAML:
        return Representation("object", yaml=True)
    if media not in _JSON:
        return None
    values = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
    wanted = values.get("as", "")
    if not wanted:
        return PLAIN
    version = values.get("v", "")
    if discovery:
        offered = (values.get("g"), version, wanted) == _DISCOVERY
        return Representation("discovery", version) if offered else None
    if values.get("g") == "meta.k8s.io" and version in _META_VERSIONS and wanted in _FORMS:
        return Representation(_FORMS[wanted], version)
    return None
