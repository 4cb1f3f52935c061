"""Image references: ``[registry/]repository[:tag][@digest]``.

The grammar and the defaults are those of github.com/distribution/reference (docker.io, ``library/``,
``latest``). Pure.
"""

import re
from typing import NamedTuple

from knarr.node.images.errors import InvalidReference

DEFAULT_REGISTRY = "docker.io"
LOCAL_REGISTRY = "knarr.local"
_MAX_REPOSITORY = 255
_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Reference(NamedTuple):
    """A parsed reference; ``tag`` and ``digest`` are empty when absent (never both)."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def is_local(self) -> bool:
        """Whether the image only exists in this machine's store and is never pulled."""
        return self.registry == LOCAL_REGISTRY

    def at(self, digest: str) -> "Reference":
        """The same repository by digest; the tag is dropped."""
        return Reference(self.registry, self.repository, "", digest)


def parse_reference(text: str) -> Reference:
    """Parse and complete a reference. ``str()`` of the result is its canonical form.

    A tag beside a digest is dropped: the digest alone decides.

    Raises:
        InvalidReference: ``message`` is Knative's text, ``hint`` the cause.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidReference(text, "the digest must be sha256: and 64 hexadecimal digits")
    registry, path = _split_registry(rest)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidReference(
            text,
            f"tag {tag!r} must be up to 128 letters, digits, '_', '.', '-' and not begin with . or -",
        )
    if not _HOST.fullmatch(registry):
        raise InvalidReference(
            text, f"registry {registry!r} is not a host name with an optional port"
        )
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    _check_repository(text, path)
    if not tag and not digest:
        tag = "latest"
    return Reference(registry, path, "" if digest else tag, digest)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        if first in {"index.docker.io", "registry-1.docker.io"}:
            first = DEFAULT_REGISTRY
        return first, rest
    return DEFAULT_REGISTRY, text


def _check_repository(text: str, path: str) -> None:
    bare = path.removeprefix("library/")
    if not bare:
        raise InvalidReference(text, "the repository name is missing")
    if len(path) > _MAX_REPOSITORY:
        raise InvalidReference(
            text, f"the repository name is longer than {_MAX_REPOSITORY} characters"
        )
    for component in path.split("/"):
        if not _COMPONENT.fullmatch(component):
            raise InvalidReference(
                text,
                f"repository part {component!r} must be lower-case letters and digits, "
                "separated by one '.', one or two '_', or '-'",
            )


def is_digest(text: str) -> bool:
    """Whether ``text`` is a sha256 or sha512 digest."""
    return _DIGEST.fullmatch(text) is not None


def is_loopback_registry(registry: str) -> bool:
    """Whether a registry is on this machine, so that plain HTTP is safe."""
    host = registry.rsplit(":", 1)[0] if not registry.endswith("]") else registry
    return host in {"localhost", "[::1]"} or host.endswith(".localhost") or _is_loopback_v4(host)


def _is_loopback_v4(host: str) -> bool:
    return re.fullmatch(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}", host) is not None
