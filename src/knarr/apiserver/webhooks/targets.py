"""Where webhooks are: from ``clientConfig`` to an address.

Callers reach whatever a configuration names, so who may write one may make this server send HTTPS
requests anywhere. What bounds it: only ``https``, the certificate is always verified, redirects are not
followed, proxies of the environment are not used, and of a response that is no AdmissionReview nobody
sees more than its status.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from knarr.meta.objects import Key
from knarr.resources.admissionregistration.webhook import (
    DEFAULT_PORT,
    ServiceReference,
    WebhookClientConfig,
)
from knarr.resources.core.endpoints import Endpoints
from knarr.resources.core.service import Service

Lookup = Callable[[str, Key], bytes | None]


class NoTarget(Exception):
    """A webhook that leads nowhere."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send a review.

    Attributes:
        url: as errors show it, and where the host name comes from.
        connect: host and port to connect to.
        server_name: whose certificate is expected.
        ca_bundle: PEM in base64 to trust instead of this machine's; empty for those.
    """

    url: str
    connect: tuple[str, int]
    server_name: str
    ca_bundle: str = ""


class TargetFinder:
    """Finds where webhooks are.

    Args:
        services: the Service of a key.
        endpoints: the Endpoints of a key.
        rng: picks one of several addresses.
    """

    def __init__(
        self,
        services: Callable[[Key], Service | None],
        endpoints: Callable[[Key], Endpoints | None],
        rng: random.Random,
    ) -> None:
        self._services = services
        self._endpoints = endpoints
        self._rng = rng

    def find(self, config: WebhookClientConfig) -> Target:
        """The target of a webhook.

        Raises:
            NoTarget: its Service has no such port or nobody behind it.
        """
        bundle = config.ca_bundle or ""
        if config.service is not None:
            return self._behind(config.service, bundle)
        url = config.url or ""
        parts = urlsplit(url)
        host = parts.hostname or ""
        return Target(url, (host, parts.port or DEFAULT_PORT), host, bundle)

    def _behind(self, reference: ServiceReference, bundle: str) -> Target:
        port = reference.port or DEFAULT_PORT
        name = f"{reference.name}.{reference.namespace}.svc"
        path = f"/{(reference.path or '').removeprefix('/')}"
        url = f"https://{name}:{port}{path}"
        return Target(url, self._address(reference, port), name, bundle)

    def _address(self, reference: ServiceReference, number: int) -> tuple[str, int]:
        key = Key(reference.namespace, reference.name)
        service = self._services(key)
        if service is None or service.spec is None:
            raise NoTarget(f'service "{reference.name}" not found')
        if service.spec.type == "ExternalName":
            return service.spec.external_name, number
        ports = service.spec.ports or ()
        port = next((each for each in ports if each.port == number), None)
        if port is None:
            raise NoTarget(f'no service port {number} found for service "{reference.name}"')
        endpoints = self._endpoints(key)
        found = [
            (address.ip, each.port)
            for subset in (endpoints.subsets if endpoints is not None else ())
            for each in subset.ports
            if each.name == port.name
            for address in subset.addresses
        ]
        if not found:
            raise NoTarget(f'no endpoints available for service "{reference.name}"')
        return self._rng.choice(found)
