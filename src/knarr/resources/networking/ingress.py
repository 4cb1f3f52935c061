"""Ingress (``networking.internal.knative.dev/v1alpha1``)."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from knarr.meta.conditions import ConditionSet
from knarr.meta.fielderrors import FieldError, at, invalid_value, missing
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import READY, REASON
from knarr.resources.kind import Admission, Kind
from knarr.resources.knative import Status

INGRESS_CONDITIONS = ConditionSet(("NetworkConfigured", "LoadBalancerReady"))


class IngressTls(Struct, frozen=True, kw_only=True):
    """A certificate for hosts."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""
    secret_namespace: str = ""


class IngressBackendSplit(Struct, frozen=True, kw_only=True):
    """A share of a path's requests; ``appendHeaders`` are set on the request to the backend."""

    service_namespace: str = ""
    service_name: str = ""
    service_port: int | str | None = None
    percent: int = 0
    append_headers: Mapping[str, str] | None = None


class HeaderMatch(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A header's exact value, which may be empty."""

    exact: str = ""


class HttpIngressPath(Struct, frozen=True, kw_only=True):
    """Requests whose path begins with ``path`` and whose headers match."""

    path: str = ""
    rewrite_host: str = ""
    headers: Mapping[str, HeaderMatch] | None = None
    splits: tuple[IngressBackendSplit, ...] = ()
    append_headers: Mapping[str, str] | None = None


class HttpIngressRuleValue(Struct, frozen=True, kw_only=True):
    """The paths of a rule."""

    paths: tuple[HttpIngressPath, ...] = ()


class IngressRule(Struct, frozen=True, kw_only=True):
    """Hosts and their paths; ``visibility`` is ExternalIP or ClusterLocal."""

    hosts: tuple[str, ...] = ()
    visibility: str = ""
    http: HttpIngressRuleValue | None = None


class IngressSpec(Struct, frozen=True, kw_only=True):
    """``httpOption`` is Enabled or Redirected."""

    tls: tuple[IngressTls, ...] = ()
    rules: tuple[IngressRule, ...] = ()
    http_option: str = msgspec.field(default="", name="httpOption")


class LoadBalancerIngressStatus(Struct, frozen=True, kw_only=True):
    """Where the gateway is."""

    ip: str = ""
    domain: str = ""
    domain_internal: str = ""
    mesh_only: bool = False


class LoadBalancerStatus(Struct, frozen=True, kw_only=True):
    """The gateway's addresses."""

    ingress: tuple[LoadBalancerIngressStatus, ...] = ()


class IngressStatus(Status, frozen=True, kw_only=True):
    """Which gateways serve the hosts from outside and from inside."""

    public_load_balancer: LoadBalancerStatus | None = None
    private_load_balancer: LoadBalancerStatus | None = None


class Ingress(Resource, frozen=True, kw_only=True):
    """Hosts and paths, and the revisions that answer them. Made by a Route."""

    spec: IngressSpec | None = None
    status: IngressStatus | None = None


def default_ingress(ingress: Ingress, admission: Admission) -> Ingress:
    """Rules are public; a single backend gets everything."""
    if admission.subresource or ingress.spec is None:
        return ingress
    rules = tuple(_default_rule(rule) for rule in ingress.spec.rules)
    return replace(ingress, spec=replace(ingress.spec, rules=rules))


def _default_rule(rule: IngressRule) -> IngressRule:
    http = rule.http
    if http is not None:
        http = replace(http, paths=tuple(_default_path(path) for path in http.paths))
    return replace(rule, visibility=rule.visibility or "ExternalIP", http=http)


def _default_path(path: HttpIngressPath) -> HttpIngressPath:
    if len(path.splits) != 1 or path.splits[0].percent:
        return path
    return replace(path, splits=(replace(path.splits[0], percent=100),))


def validate_ingress(ingress: Ingress, admission: Admission) -> tuple[FieldError, ...]:
    """Knative's validating webhook."""
    if admission.operation == "DELETE" or admission.subresource:
        return ()
    spec = ingress.spec or IngressSpec()
    if spec == IngressSpec():
        return (missing("spec"),)
    errors = [] if spec.rules else [missing("rules")]
    for index, rule in enumerate(spec.rules):
        errors += at(f"rules[{index}]", _rule_errors(rule, ingress.metadata.namespace))
    for index, tls in enumerate(spec.tls):
        errors += at(f"tls[{index}]", _tls_errors(tls))
    if spec.http_option not in {"", "Enabled", "Redirected"}:
        errors.append(invalid_value(spec.http_option, "httpOption"))
    return at("spec", errors)


def _tls_errors(tls: IngressTls) -> list[FieldError]:
    if tls == IngressTls():
        return [missing("")]
    errors = [] if tls.secret_name else [missing("secretName")]
    return errors if tls.secret_namespace else [*errors, missing("secretNamespace")]


def _rule_errors(rule: IngressRule, namespace: str) -> tuple[FieldError, ...]:
    if rule == IngressRule():
        return (missing(""),)
    if rule.http is None:
        return (missing("http"),)
    if not rule.http.paths:
        return (missing("http.paths"),)
    errors: list[FieldError] = []
    for index, path in enumerate(rule.http.paths):
        errors += at(f"http.paths[{index}]", _path_errors(path, namespace))
    return tuple(errors)


def _path_errors(path: HttpIngressPath, namespace: str) -> tuple[FieldError, ...]:
    if path == HttpIngressPath():
        return (missing(""),)
    if not path.splits:
        return (missing("splits"),)
    for index, split in enumerate(path.splits):
        if errors := _split_errors(split, namespace):
            return at(f"splits[{index}]", errors)
    total = sum(split.percent for split in path.splits)
    if total == 100 or (len(path.splits) == 1 and total == 0):
        return ()
    message = f"traffic split percentage must total to 100, but was {total}"
    return (FieldError(message=message, paths=("splits",)),)


def _split_errors(split: IngressBackendSplit, namespace: str) -> list[FieldError]:
    if split == IngressBackendSplit():
        return [missing("")]
    errors = []
    if not 0 <= split.percent <= 100:
        errors.append(invalid_value(split.percent, "percent"))
    if not split.service_namespace:
        errors.append(missing("serviceNamespace"))
    elif split.service_namespace != namespace:
        message = "service namespace must match ingress namespace"
        errors.append(FieldError(message=message, paths=("serviceNamespace",)))
    if not split.service_name:
        errors.append(missing("serviceName"))
    if not split.service_port:
        errors.append(missing("servicePort"))
    return errors


INGRESS: Kind[Ingress] = Kind(
    group="networking.internal.knative.dev",
    version="v1alpha1",
    kind="Ingress",
    plural="ingresses",
    singular="ingress",
    short_names=("kingress", "king"),
    categories=("knative-internal", "networking"),
    webhook="validation.webhook.serving.knative.dev",
    model=Ingress,
    columns=(READY, REASON),
    age=False,
    default=default_ingress,
    validate=validate_ingress,
)
