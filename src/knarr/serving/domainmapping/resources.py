"""The Ingress and the claim of a DomainMapping (Knative ``pkg/reconciler/domainmapping/resources``)."""

from knarr.meta.errors import Terminal
from knarr.meta.names import child_name
from knarr.meta.objects import ObjectMeta
from knarr.resources.config.network import NetworkConfig
from knarr.resources.networking.clusterdomainclaim import (
    ClusterDomainClaim,
    ClusterDomainClaimSpec,
)
from knarr.resources.networking.ingress import (
    HttpIngressPath,
    HttpIngressRuleValue,
    Ingress,
    IngressBackendSplit,
    IngressRule,
    IngressSpec,
    IngressTls,
)
from knarr.resources.serving.domainmapping import DomainMapping, DomainMappingSpec
from knarr.serving import labels
from knarr.serving.domainmapping.references import Target

ORIGINAL_HOST_HEADER = "K-Original-Host"
SERVICE_PORT = 80


def make_claim(mapping: DomainMapping) -> ClusterDomainClaim:
    """The claim of a domain for the namespace of a DomainMapping."""
    meta = mapping.metadata
    return ClusterDomainClaim(
        metadata=ObjectMeta(name=meta.name),
        spec=ClusterDomainClaimSpec(namespace=meta.namespace),
    )


def ingress_name(mapping: DomainMapping) -> str:
    """The name of a DomainMapping's Ingress."""
    return child_name(mapping.metadata.name, "")


def make_ingress(mapping: DomainMapping, target: Target, network: NetworkConfig) -> Ingress:
    """The Ingress: one public host that is rewritten to the target's name inside.

    Raises:
        Terminal: the http-protocol annotation has no meaning.
    """
    meta = mapping.metadata
    given = {
        key: value for key, value in (meta.annotations or {}).items() if key != labels.LAST_APPLIED
    }
    split = IngressBackendSplit(
        service_namespace=meta.namespace,
        service_name=target.service,
        service_port=SERVICE_PORT,
        percent=100,
        append_headers={ORIGINAL_HOST_HEADER: meta.name},
    )
    path = HttpIngressPath(rewrite_host=target.host, splits=(split,))
    rule = IngressRule(
        hosts=(meta.name,),
        visibility="ExternalIP",
        http=HttpIngressRuleValue(paths=(path,)),
    )
    return Ingress(
        metadata=ObjectMeta(
            name=ingress_name(mapping),
            namespace=meta.namespace,
            labels={
                **(meta.labels or {}),
                labels.DOMAIN_MAPPING_UID: meta.uid,
                labels.DOMAIN_MAPPING_NAMESPACE: meta.namespace,
            },
            annotations={labels.INGRESS_CLASS: network.ingress_class, **given},
        ),
        spec=IngressSpec(
            tls=_tls(mapping), rules=(rule,), http_option=_http_option(mapping, network)
        ),
    )


def _tls(mapping: DomainMapping) -> tuple[IngressTls, ...]:
    tls = (mapping.spec or DomainMappingSpec()).tls
    if tls is None:
        return ()
    meta = mapping.metadata
    item = IngressTls(
        hosts=(meta.name,), secret_name=tls.secret_name, secret_namespace=meta.namespace
    )
    return (item,)


def _http_option(mapping: DomainMapping, network: NetworkConfig) -> str:
    """Enabled or Redirected; without a certificate there is nothing to redirect to."""
    given = mapping.metadata.annotation(labels.HTTP_PROTOCOL)
    wanted = given.lower() or network.http_protocol
    if given and wanted not in {"enabled", "redirected"}:
        text = f'incorrect http-protocol annotation: "{given}"'
        raise Terminal("InvalidHttpProtocol", text)
    return "Redirected" if wanted == "redirected" and _tls(mapping) else "Enabled"
