"""Registry authentication: challenges, token requests and docker configuration files. Pure.

Sources: RFC 9110 §11 (challenges), the distribution token specification. Credentials go to the registry's own
host, or to a token server of the same site (``auth.docker.io`` for ``registry-1.docker.io``), nowhere else.
"""

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from knarr.node.images.errors import Unauthorized
from knarr.node.images.records import Credentials
from knarr.node.images.reference import DEFAULT_REGISTRY

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9._-]*)(?:\s+|$)")
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_DOCKER_HUB = {
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
    DEFAULT_REGISTRY,
}


class Challenge(NamedTuple):
    """One challenge of a WWW-Authenticate header; names are lower-case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Challenges in the order of the header values; what cannot be parsed ends its value."""
    found = []
    for value in values:
        position = 0
        while match := _SCHEME.match(value, position):
            position = match.end()
            parameters: dict[str, str] = {}
            while pair := _PARAMETER.match(value, position):
                text = re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3]
                parameters[pair[1].lower()] = text
                position = pair.end()
            found.append(Challenge(match[1].lower(), parameters))
    return found


def basic(credentials: Credentials) -> str:
    """The Authorization value."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def same_site(host: str, other: str) -> bool:
    """Whether two hosts belong together: equal, or names with the same last two labels."""
    if host == other:
        return True
    if _is_address(host) or _is_address(other):
        return False
    ours, theirs = host.split(".")[-2:], other.split(".")[-2:]
    return len(ours) == 2 and ours == theirs


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def check_realm(realm: str, registry_host: str, *, plain: bool, secret: bool) -> None:
    """Refuse a token server that must not be asked.

    Args:
        realm: URL from the challenge.
        registry_host: without port.
        plain: the registry itself is spoken to without TLS.
        secret: credentials would be sent along.

    Raises:
        Unauthorized: not http(s), a downgrade, or credentials would leave the registry's site.
    """
    url = urlsplit(realm)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise Unauthorized(f"registry {registry_host} names an unusable token server {realm!r}")
    if url.scheme == "http" and not plain:
        raise Unauthorized(f"registry {registry_host} names a token server without TLS: {realm!r}")
    if secret and not same_site(url.hostname, registry_host):
        raise Unauthorized(
            f"registry {registry_host} wants its credentials sent to {url.hostname}, which is another site"
        )


def token_parameters(challenge: Challenge, repository: str) -> dict[str, str]:
    """Query of a token request."""
    parameters = {"scope": challenge.parameters.get("scope") or f"repository:{repository}:pull"}
    if "service" in challenge.parameters:
        parameters["service"] = challenge.parameters["service"]
    return parameters


def credentials_from_docker_config(data: bytes) -> dict[str, Credentials]:
    """Accounts of a ``config.json`` or of a ``kubernetes.io/dockerconfigjson`` (or ``dockercfg``) Secret.

    Returns:
        By registry as it stands in references: ``docker.io``, ``host`` or ``host:port``.

    Raises:
        ValueError: not such a file.
    """
    try:
        document = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"docker configuration: {error}") from error
    entries = document.get("auths", document) if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise ValueError("docker configuration: auths is not an object")  # noqa: TRY004 - bad input
    return {
        _registry_of(name): _account(entry)
        for name, entry in entries.items()
        if isinstance(entry, dict)
    }


def _registry_of(name: str) -> str:
    url = urlsplit(name if "//" in name else f"//{name}")
    return DEFAULT_REGISTRY if url.hostname in _DOCKER_HUB else url.netloc


def _account(entry: Mapping[str, Any]) -> Credentials:
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if entry.get("auth"):
        try:
            pair = base64.b64decode(str(entry["auth"]), validate=False).decode()
        except ValueError as error:
            raise ValueError(
                "docker configuration: auth is not base64 of 'user:password'"
            ) from error
        username, _, password = pair.partition(":")
    return Credentials(username, password, str(entry.get("identitytoken", "")))
