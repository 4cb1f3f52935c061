"""``config-network`` (Knative ``networking/pkg/config``)."""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from knarr.resources.config.values import ConfigError, ConfigReader
from knarr.resources.gotemplate import TemplateError, parse_template

NAME = "config-network"
KNARR_INGRESS_CLASS = "knarr.ingress.networking.knarr.dev"
CERTIFICATE_CLASS = "cert-manager.certificate.networking.knative.dev"
DOMAIN_TEMPLATE = "{{.Name}}.{{.Namespace}}.{{.Domain}}"
TAG_TEMPLATE = "{{.Tag}}-{{.Name}}"

HttpProtocol = Literal["enabled", "disabled", "redirected"]


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How Routes are named and reached; ``rollout_duration_s`` is whole seconds.

    The default ingress class is Knarr's own, because its gateway is the one that is always there.
    """

    ingress_class: str = KNARR_INGRESS_CLASS
    certificate_class: str = CERTIFICATE_CLASS
    domain_template: str = DOMAIN_TEMPLATE
    tag_template: str = TAG_TEMPLATE
    external_domain_tls: bool = False
    cluster_local_domain_tls: bool = False
    system_internal_tls: bool = False
    http_protocol: HttpProtocol = "enabled"
    rollout_duration_s: int = 0
    autocreate_cluster_domain_claims: bool = False
    enable_mesh_pod_addressability: bool = False
    mesh_compatibility_mode: Literal["auto", "enabled", "disabled"] = "auto"
    default_external_scheme: str = "http"

    def host(
        self,
        *,
        name: str,
        namespace: str,
        domain: str,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """The public host of a Route (or of one tag's ``tag_name``) under a domain.

        Raises:
            TemplateError: the template names what it is not given.
        """
        values = {
            "Name": name,
            "Namespace": namespace,
            "Domain": domain,
            "Annotations": annotations or {},
            "Labels": labels or {},
        }
        return parse_template(self.domain_template).render(values)

    def tag_name(self, *, tag: str, name: str) -> str:
        """The name under which one tag of a Route is reached.

        Raises:
            TemplateError: the template names what it is not given.
        """
        return parse_template(self.tag_template).render({"Tag": tag, "Name": name})


def parse_network(data: Mapping[str, str]) -> NetworkConfig:
    """Read ``config-network``.

    Raises:
        ConfigError: a value does not parse or is not supported; names the key.
    """
    read = ConfigReader(data)
    config = NetworkConfig(
        ingress_class=read.text(KNARR_INGRESS_CLASS, "ingress.class", "ingress-class"),
        certificate_class=read.text(CERTIFICATE_CLASS, "certificate.class", "certificate-class"),
        domain_template=read.text(DOMAIN_TEMPLATE, "domainTemplate", "domain-template"),
        tag_template=read.text(TAG_TEMPLATE, "tagTemplate", "tag-template"),
        external_domain_tls=_on(read, "autoTLS", "auto-tls", "external-domain-tls"),
        cluster_local_domain_tls=_encryption(read, "cluster-local-domain-tls"),
        system_internal_tls=_encryption(read, "system-internal-tls")
        or read.flag("internal-encryption", default=False),
        http_protocol=_http_protocol(read),
        rollout_duration_s=read.integer(0, "rolloutDuration", "rollout-duration"),
        autocreate_cluster_domain_claims=read.flag(
            "autocreateClusterDomainClaims", "autocreate-cluster-domain-claims", default=False
        ),
        enable_mesh_pod_addressability=read.flag("enable-mesh-pod-addressability", default=False),
        mesh_compatibility_mode=_mesh_mode(read),
        default_external_scheme=read.text(
            "http", "defaultExternalScheme", "default-external-scheme"
        ),
    )
    if config.rollout_duration_s < 0:
        was = config.rollout_duration_s
        raise ConfigError(f"rollout-duration must be a positive integer, but was {was}")
    _check_templates(config)
    return config


def _on(read: ConfigReader, *keys: str) -> bool:
    return (read.raw(*keys) or "").lower() == "enabled"


def _unsupported(key: str, raw: str) -> ConfigError:
    return ConfigError(f'{key} with value: "{raw}" in config-network ConfigMap is not supported')


def _encryption(read: ConfigReader, key: str) -> bool:
    raw = read.raw(key) or ""
    match raw.lower():
        case "" | "disabled":
            return False
        case "enabled":
            return True
        case _:
            raise _unsupported(key, raw)


def _http_protocol(read: ConfigReader) -> HttpProtocol:
    raw = read.raw("httpProtocol", "http-protocol") or ""
    match raw.lower():
        case "" | "enabled":
            return "enabled"
        case "disabled":
            return "disabled"
        case "redirected":
            return "redirected"
        case _:
            text = f"httpProtocol {raw} in config-network ConfigMap is not supported"
            raise ConfigError(text)


def _mesh_mode(read: ConfigReader) -> Literal["auto", "enabled", "disabled"]:
    match (read.raw("mesh-compatibility-mode") or "").lower():
        case "enabled":
            return "enabled"
        case "disabled":
            return "disabled"
        case _:
            return "auto"


def _check_templates(config: NetworkConfig) -> None:
    try:
        host = config.host(name="foo", namespace="bar", domain="baz.com")
        config.tag_name(tag="v2", name="foo")
    except TemplateError as error:
        raise ConfigError(f"template: {error}") from None
    parts = urlsplit(f"https://{host}")
    if not parts.hostname:
        raise ConfigError("empty hostname")
    if parts.path not in {"", "/"} or parts.query:
        raise ConfigError(f"domain template has url path: {parts.path}")
