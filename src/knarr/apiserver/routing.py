"""From a URL path to a resource, an object and a subresource."""

from dataclasses import dataclass
from urllib.parse import unquote

from knarr.apiserver.served import Registry, Served
from knarr.meta.errors import BadRequest, KnarrError
from knarr.meta.objects import Key

NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


class NoSuchPath(KnarrError):
    """The path names no group, version or resource: Kubernetes answers a plain text 404."""


class NoSuchCoreResource(KnarrError):
    """The path lies under /api/v1 but names no resource: Kubernetes answers a 404 Status."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is about; ``name`` is empty for a collection."""

    served: Served
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """The key of the object."""
        return Key(self.namespace, self.name)


def split_path(path: str) -> list[str]:
    """The decoded segments of a path; one trailing slash is ignored.

    Raises:
        BadRequest: a segment is empty or hides a slash.
    """
    text = path.strip("/")
    segments = text.split("/") if text else []
    if "%" in text:
        segments = [unquote(segment) for segment in segments]
    if any(not segment or "/" in segment or segment in (".", "..") for segment in segments):
        raise BadRequest(f"the path {path!r} is not canonical")
    return segments


def find_route(registry: Registry, segments: list[str]) -> Route:
    """The resource behind the segments of ``/api/v1/…`` or ``/apis/<group>/<version>/…``.

    Raises:
        NoSuchPath, NoSuchCoreResource: nothing is served there.
    """
    if segments[0] == "api":
        group, version, rest = "", segments[1], segments[2:]
    else:
        group, version, rest = segments[1], segments[2], segments[3:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in NAMESPACE_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    served = registry.find(group, version, rest[0])
    if served is None or len(rest) > 3 or (namespace and not served.kind.namespaced):
        raise NoSuchCoreResource if not group and version == "v1" else NoSuchPath
    name = rest[1] if len(rest) > 1 else ""
    if name and served.kind.namespaced and not namespace:
        raise NoSuchCoreResource if not group else NoSuchPath
    return Route(served, namespace, name, rest[2] if len(rest) > 2 else "")
