"""DomainMapping (``serving.knative.dev/v1beta1``)."""

import msgspec
from msgspec.structs import replace

from knarr.meta.conditions import ConditionSet
from knarr.meta.fielderrors import FieldError, at, disallowed, missing
from knarr.meta.names import dns1123_label_problems, dns1123_subdomain_problems
from knarr.meta.objects import ObjectMeta, Resource, Struct
from knarr.resources import fielderrors
from knarr.resources.columns import READY, REASON, text
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.knative import Addressable, Status
from knarr.resources.serving.configs import WEBHOOK
from knarr.resources.serving.metadata import user_errors, with_user

CLUSTER_DOMAIN = "cluster.local"
DOMAIN_MAPPING_CONDITIONS = ConditionSet(
    ("DomainClaimed", "ReferenceResolved", "IngressReady", "CertificateProvisioned")
)
_NO_DOMAIN = "should be a domain with at least two segments separated by dots"


class KReference(Struct, frozen=True, kw_only=True):
    """What is mapped to (``duckv1.KReference``); ``group`` and ``address`` are of no use here."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    api_version: str = msgspec.field(default="", name="apiVersion")
    group: str = ""
    address: str | None = None


class SecretTls(Struct, frozen=True, kw_only=True):
    """A certificate that the user brings, in a Secret of type kubernetes.io/tls."""

    secret_name: str = ""


class DomainMappingSpec(Struct, frozen=True, kw_only=True):
    """What answers for the domain."""

    ref: KReference = KReference()
    tls: SecretTls | None = None


class DomainMappingStatus(Status, frozen=True, kw_only=True):
    """Under which URL the domain is reached."""

    url: str = ""
    address: Addressable | None = None


class DomainMapping(Resource, frozen=True, kw_only=True):
    """A domain of one's own, by the object's name, for a Service."""

    spec: DomainMappingSpec | None = None
    status: DomainMappingStatus | None = None


def default_domain_mapping(mapping: DomainMapping, admission: Admission) -> DomainMapping:
    """Knative's defaulting webhook."""
    if admission.subresource:
        return mapping
    spec = mapping.spec or DomainMappingSpec()
    ref = replace(spec.ref, namespace=spec.ref.namespace or mapping.metadata.namespace)
    spec = replace(spec, ref=ref)
    old = admission.old.spec if isinstance(admission.old, DomainMapping) else None
    metadata = with_user(mapping.metadata, admission, old_spec=old, new_spec=spec)
    return replace(mapping, metadata=metadata, spec=spec)


def validate_domain_mapping(mapping: DomainMapping, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    metadata, spec = mapping.metadata, mapping.spec or DomainMappingSpec()
    errors = _metadata_errors(metadata)
    old = admission.old
    if isinstance(old, DomainMapping):
        found = user_errors(
            old.metadata.annotations, metadata.annotations, old_spec=old.spec, new_spec=spec
        )
        errors += at("annotations", found)
    return (*at("metadata", errors), *at("spec.ref", _ref_errors(spec.ref, metadata.namespace)))


def _metadata_errors(metadata: ObjectMeta) -> list[FieldError]:
    name = metadata.name
    errors = [disallowed("generateName")] if metadata.generate_name else []
    if problem := domain_problem(name):
        errors.append(_bad_name(name, problem))
    if name.endswith(f".{CLUSTER_DOMAIN}"):
        text_ = f'must not be a subdomain of cluster local domain "{CLUSTER_DOMAIN}"'
        errors.append(_bad_name(name, text_))
    return errors


def _bad_name(name: str, problem: str) -> FieldError:
    return FieldError(message=f'invalid name "{name}": {problem}', paths=("name",))


def domain_problem(name: str) -> str:
    """Why ``name`` is no fully qualified domain name, in Kubernetes' words; empty when it is one."""
    if not name:
        return "name: Required value"
    bare = name.removesuffix(".")
    if problems := dns1123_subdomain_problems(bare):
        return _invalid(bare, ",".join(problems))
    labels = bare.split(".")
    if len(labels) < 2:
        return _invalid(bare, _NO_DOMAIN)
    found = [
        _invalid(label, ",".join(problems))
        for label in dict.fromkeys(labels)
        if (problems := dns1123_label_problems(label))
    ]
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]" if found else ""


def _invalid(value: str, detail: str) -> str:
    error = fielderrors.invalid("name", value, detail)
    return f"name: {error.message}: {error.details}"


def _ref_errors(ref: KReference, namespace: str) -> list[FieldError]:
    required = {"name": ref.name, "kind": ref.kind, "apiVersion": ref.api_version}
    errors = [missing(field) for field, value in required.items() if not value]
    if ref.group:
        errors.append(disallowed("group"))
    if ref.namespace and namespace and ref.namespace != namespace:
        errors.append(
            FieldError(
                message="mismatched namespaces",
                paths=("namespace",),
                details=f'parent namespace: "{namespace}" does not match ref: "{ref.namespace}"',
            )
        )
    return errors


DOMAIN_MAPPING: Kind[DomainMapping] = Kind(
    group="serving.knative.dev",
    version="v1beta1",
    kind="DomainMapping",
    plural="domainmappings",
    singular="domainmapping",
    short_names=("dm",),
    categories=("all", "knative", "serving"),
    webhook=WEBHOOK,
    model=DomainMapping,
    columns=(Column("URL", "string", text("status", "url")), READY, REASON),
    age=False,
    default=default_domain_mapping,
    validate=validate_domain_mapping,
)
