"""What a request asks permission for, out of its method, path and selectors; pure.

Semantics: Kubernetes ``apiserver/pkg/endpoints/request``. Roles name verbs and resources in these terms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from knarr.apiserver.request import ApiRequest
from knarr.apiserver.routing import NAMESPACE_SUBRESOURCES
from knarr.meta.errors import Forbidden
from knarr.meta.selectors import parse_field_selector
from knarr.resources.kind import UserInfo
from knarr.resources.rbac.role import path_segment_problems

_VERBS: Mapping[str, str] = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What somebody wants to do.

    Attributes:
        verb: Kubernetes' for resources, the method in lower case otherwise.
        namespace: empty at the cluster scope.
        name: empty for a collection.
        path: of a request that is about no resource, else None.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str | None = None


def names_resource(segments: Sequence[str]) -> bool:
    """Whether a path leads to resources rather than to documents about the API."""
    match segments:
        case ["api", _, _, *_] | ["apis", _, _, _, *_]:
            return True
        case _:
            return False


def attributes_of(request: ApiRequest, segments: Sequence[str]) -> Attributes:
    """The attributes of a request whose path was split into ``segments``.

    Raises:
        BadRequest: ``watch`` or ``fieldSelector`` is malformed.
    """
    if not names_resource(segments):
        return Attributes(request.method.lower(), path=unquote(request.path))
    group = "" if segments[0] == "api" else segments[1]
    rest = segments[2:] if segments[0] == "api" else segments[3:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    verb = _VERBS.get(request.method, "")
    if not name and verb == "get":
        verb = "watch" if request.flag("watch") else "list"
        name = _selected_name(request)
    elif not name and verb == "delete":
        verb = "deletecollection"
    return Attributes(verb, group, rest[0], rest[2] if len(rest) > 2 else "", namespace, name)


def _selected_name(request: ApiRequest) -> str:
    """The one name that a field selector asks for: who may see one object may list it alone."""
    text = request.text("fieldSelector")
    if "metadata.name" not in text:
        return ""
    for term in parse_field_selector(text).terms:
        if term.path == "metadata.name" and not term.negate:
            return "" if path_segment_problems(term.value) else term.value
    return ""


def refusal(user: UserInfo, attributes: Attributes, reason: str = "") -> Forbidden:
    """The 403 in Kubernetes' words."""
    suffix = f": {reason}" if reason else ""
    if attributes.path is not None:
        return Forbidden(
            f'forbidden: User "{user.name}" cannot {attributes.verb} path "{attributes.path}"{suffix}'
        )
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    scope = (
        f'in the namespace "{attributes.namespace}"'
        if attributes.namespace
        else "at the cluster scope"
    )
    qualified = ".".join(filter(None, (attributes.resource, attributes.group)))
    subject = f'{qualified} "{attributes.name}"' if attributes.name else qualified
    return Forbidden(
        f'{subject} is forbidden: User "{user.name}" cannot {attributes.verb} resource "{resource}" '
        f'in API group "{attributes.group}" {scope}{suffix}',
        group=attributes.group,
        kind=attributes.resource,
        name=attributes.name,
    )
