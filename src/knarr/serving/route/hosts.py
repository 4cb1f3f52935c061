"""The hosts of a Route: its own and one per tag, outside and inside; pure.

Knative ``pkg/reconciler/route/{domains,visibility}``. A host is cluster-local when the Route, or the
placeholder Service of its tag, carries the visibility label, or when the domain is the cluster's own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from knarr.meta.errors import KnarrError
from knarr.meta.names import DNS1123_SUBDOMAIN_TEXT, dns1123_subdomain_problems
from knarr.resources.config.domain import CLUSTER_LOCAL, VISIBILITY_LABEL
from knarr.resources.gotemplate import TemplateError
from knarr.resources.serving.route import Route, RouteSpec
from knarr.serving.config import ServingConfig, ServingSettings
from knarr.serving.route.traffic import DEFAULT_TAG

Visibility = Literal["ExternalIP", "ClusterLocal"]
_DOTS = re.compile(r"\.")


class DomainError(KnarrError):
    """A template yields no host name; becomes the reason ``ErrorConfig``."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How the hosts of Routes are formed."""

    settings: ServingSettings
    config: ServingConfig

    def tag_name(self, route: str, tag: str) -> str:
        """The name of a tag's placeholder Service, and the first part of its hosts.

        Raises:
            DomainError: the tag template does not render.
        """
        if not tag:
            return route
        try:
            return self.config.network.tag_name(tag=tag, name=route)
        except TemplateError as error:
            text = f"domain name error: error executing the TagTemplate: {error}"
            raise DomainError(text) from None

    def local_host(self, name: str, namespace: str) -> str:
        """The full name inside."""
        return f"{name}.{namespace}.svc.{self.settings.cluster_domain}"

    def host(self, route: Route, tag: str, visibility: Visibility) -> str:
        """The host of a tag, as seen from outside or inside.

        Raises:
            DomainError: a template does not render, or to no host name.
        """
        meta = route.metadata
        name = self.tag_name(meta.name, tag)
        if visibility == "ClusterLocal":
            return self.local_host(name, meta.namespace)
        given = {
            key: value for key, value in (meta.labels or {}).items() if key != VISIBILITY_LABEL
        }
        try:
            host = self.config.network.host(
                name=name,
                namespace=meta.namespace,
                domain=self.config.domain.lookup(given),
                annotations=meta.annotations,
                labels=given,
            )
        except TemplateError as error:
            text = f"domain name error: error executing the DomainTemplate: {error}"
            raise DomainError(text) from None
        if dns1123_subdomain_problems(host) or not _DOTS.search(host):
            text = f'domain name error: invalid domain name "{host}": {DNS1123_SUBDOMAIN_TEXT}'
            raise DomainError(text)
        return host

    def url(self, route: Route, tag: str, visibility: Visibility) -> str:
        """The URL under which a tag is reached; with the port when that is not the usual one.

        Raises:
            DomainError: as ``host``.
        """
        host = self.host(route, tag, visibility)
        if visibility == "ClusterLocal":
            return f"http://{host}"
        scheme = self.config.network.default_external_scheme
        port = self.config.external_port
        usual = {"http": 80, "https": 443}.get(scheme)
        return f"{scheme}://{host}" if port == usual else f"{scheme}://{host}:{port}"

    def visibilities(
        self, route: Route, service_labels: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Visibility]:
        """How far each tag of a Route (the empty one included) is visible.

        Args:
            route: with its labels.
            service_labels: labels of the Route's placeholder Services by their names.

        Raises:
            DomainError: as ``tag_name``.
        """
        meta = route.metadata
        whole = self.config.domain.lookup(meta.labels) == self.config.domain.cluster_domain
        result: dict[str, Visibility] = {}
        tags = [target.tag for target in (route.spec or RouteSpec()).traffic]
        for tag in {DEFAULT_TAG, *tags}:
            given = service_labels.get(self.tag_name(meta.name, tag), {})
            local = whole or given.get(VISIBILITY_LABEL) == CLUSTER_LOCAL
            result[tag] = "ClusterLocal" if local else "ExternalIP"
        return result


def expanded(name: str, namespace: str, cluster_domain: str) -> tuple[str, ...]:
    """All names of a host inside, as applications may abbreviate them; sorted."""
    return (
        f"{name}.{namespace}",
        f"{name}.{namespace}.svc",
        f"{name}.{namespace}.svc.{cluster_domain}",
    )
