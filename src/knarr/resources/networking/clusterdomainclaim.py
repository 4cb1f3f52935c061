"""ClusterDomainClaim (``networking.internal.knative.dev/v1alpha1``): which namespace may use a domain."""

from knarr.meta.fielderrors import FieldError, missing
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Admission, Kind


class ClusterDomainClaimSpec(Struct, frozen=True, kw_only=True):
    """``namespace`` is the one whose DomainMapping may have the domain."""

    namespace: str = ""


class ClusterDomainClaim(Resource, frozen=True, kw_only=True):
    """A domain, by the object's name, and who holds it in the whole cluster."""

    spec: ClusterDomainClaimSpec | None = None


def validate_claim(claim: ClusterDomainClaim, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    return () if claim.spec and claim.spec.namespace else (missing("spec.namespace"),)


CLUSTER_DOMAIN_CLAIM: Kind[ClusterDomainClaim] = Kind(
    group="networking.internal.knative.dev",
    version="v1alpha1",
    kind="ClusterDomainClaim",
    plural="clusterdomainclaims",
    singular="clusterdomainclaim",
    short_names=("cdc",),
    categories=("knative-internal", "networking"),
    namespaced=False,
    webhook="validation.webhook.serving.knative.dev",
    model=ClusterDomainClaim,
    has_status=False,
    validate=validate_claim,
)
