"""``config-domain`` (Knative ``pkg/reconciler/route/config/domain.go``)."""

from collections.abc import Mapping

import msgspec
import yaml

from knarr.resources.config.values import ConfigError

NAME = "config-domain"
EXAMPLE_KEY = "_example"
VISIBILITY_LABEL = "networking.knative.dev/visibility"
CLUSTER_LOCAL = "cluster-local"


class DomainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Domains and the labels of the Routes that use them.

    Attributes:
        selectors: domain → labels a Route must have; an empty selector is the default.
        cluster_domain: of names that are served inside only, e.g. ``svc.cluster.local``.
    """

    selectors: Mapping[str, Mapping[str, str]]
    cluster_domain: str = "svc.cluster.local"

    def lookup(self, labels: Mapping[str, str] | None) -> str:
        """The domain of a Route: most matching labels win, ties go to the smaller name."""
        given = labels or {}
        if given.get(VISIBILITY_LABEL) == CLUSTER_LOCAL:
            return self.cluster_domain
        matching = [
            (-len(selector), domain)
            for domain, selector in self.selectors.items()
            if all(given.get(key) == value for key, value in selector.items())
        ]
        return min(matching)[1] if matching else self.cluster_domain


def parse_domain(data: Mapping[str, str], *, cluster_domain: str = "cluster.local") -> DomainConfig:
    """Read ``config-domain``; without a domain for all, ``svc.<cluster domain>`` is it.

    Raises:
        ConfigError: a value is no YAML mapping of ``selector`` and ``type``.
    """
    selectors: dict[str, Mapping[str, str]] = {}
    for domain, text in data.items():
        if domain != EXAMPLE_KEY:
            selectors[domain] = _selector(domain, text)
    local = f"svc.{cluster_domain}"
    if all(selectors.values()):
        selectors[local] = {}
    return DomainConfig(selectors=selectors, cluster_domain=local)


def _selector(domain: str, text: str) -> Mapping[str, str]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f'failed to parse "{domain}": {" ".join(str(error).split())}') from None
    selector = document.get("selector") if isinstance(document, dict) else None
    if document is not None and not isinstance(document, dict):
        raise ConfigError(f'failed to parse "{domain}": expected a mapping with "selector"')
    if not isinstance(selector, dict | None):
        raise ConfigError(f'failed to parse "{domain}": selector must map labels to values')
    return {str(key): str(value) for key, value in (selector or {}).items()}
