"""The roles and bindings that exist from the first start on, as Kubernetes and Knative ship them.

Sources: Kubernetes ``plugin/pkg/auth/authorizer/rbac/bootstrappolicy`` and Knative Serving
``config/core/200-roles``. Left out are the roles of components that Knarr does not have.
"""

from collections.abc import Mapping, Sequence

from knarr.apiserver.authentication.names import (
    AUTHENTICATED,
    MASTERS,
    SERVICE_ACCOUNTS,
    UNAUTHENTICATED,
)
from knarr.meta.objects import ObjectMeta
from knarr.resources.core.references import LabelSelector
from knarr.resources.rbac.binding import SUBJECT_GROUP, ClusterRoleBinding, RoleRef, Subject
from knarr.resources.rbac.role import GROUP, AggregationRule, ClusterRole, PolicyRule

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete", "deletecollection")
_READ_WRITE = ("get", "list", "watch", *_WRITE)
_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
_HEALTH = ("/livez", "/readyz", "/healthz")
_VERSION = ("/version", "/version/")


def _rule(verbs: Sequence[str], group: str, *resources: str) -> PolicyRule:
    return PolicyRule(
        verbs=tuple(sorted(verbs)), api_groups=(group,), resources=tuple(sorted(resources))
    )


def _urls(*urls: str) -> PolicyRule:
    return PolicyRule(verbs=("get",), non_resource_urls=tuple(sorted(urls)))


def _metadata(name: str, labels: Mapping[str, str] | None = None) -> ObjectMeta:
    return ObjectMeta(
        name=name, labels={**_BOOTSTRAPPING, **(labels or {})}, annotations={AUTOUPDATE: "true"}
    )


def _role(name: str, *rules: PolicyRule, lends_to: str = "") -> ClusterRole:
    """A role; ``lends_to`` names the aggregated role that takes its rules."""
    labels = {f"{_AGGREGATE}{lends_to}": "true"} if lends_to else None
    return ClusterRole(metadata=_metadata(name, labels), rules=rules)


def _aggregated(name: str, lends_to: str = "") -> ClusterRole:
    role = _role(name, lends_to=lends_to)
    selector = LabelSelector(match_labels={f"{_AGGREGATE}{name}": "true"})
    rule = AggregationRule(cluster_role_selectors=(selector,))
    return ClusterRole(metadata=role.metadata, aggregation_rule=rule)


_EXTENSIONS = (
    "daemonsets", "deployments", "deployments/scale", "ingresses", "networkpolicies", "replicasets",
    "replicasets/scale", "replicationcontrollers/scale",
)  # fmt: skip

_VIEW = (
    _rule(
        _READ, "", "pods", "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts",
        "services", "services/status", "endpoints", "persistentvolumeclaims",
        "persistentvolumeclaims/status", "configmaps",
    ),
    _rule(
        _READ, "", "limitranges", "resourcequotas", "bindings", "events", "pods/status",
        "resourcequotas/status", "namespaces/status", "replicationcontrollers/status", "pods/log",
    ),
    # In a RoleBinding this is the one namespace.
    _rule(_READ, "", "namespaces"),
    _rule(_READ, "discovery.k8s.io", "endpointslices"),
    _rule(
        _READ, "apps", "controllerrevisions", "statefulsets", "statefulsets/status",
        "statefulsets/scale", "daemonsets", "daemonsets/status", "deployments", "deployments/status",
        "deployments/scale", "replicasets", "replicasets/status", "replicasets/scale",
    ),
    _rule(
        _READ, "autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status"
    ),
    _rule(_READ, "batch", "jobs", "cronjobs", "cronjobs/status", "jobs/status"),
    _rule(
        _READ, "extensions", *_EXTENSIONS, "daemonsets/status", "deployments/status",
        "ingresses/status", "replicasets/status",
    ),
    _rule(_READ, "policy", "poddisruptionbudgets", "poddisruptionbudgets/status"),
    _rule(_READ, "networking.k8s.io", "networkpolicies", "ingresses", "ingresses/status"),
    _rule(
        _READ, "resource.k8s.io", "resourceclaims", "resourceclaims/status", "resourceclaimtemplates"
    ),
)  # fmt: skip

_EDIT = (
    _rule(
        _READ, "", "pods/attach", "pods/proxy", "pods/exec", "pods/portforward", "secrets",
        "services/proxy",
    ),
    _rule(("impersonate",), "", "serviceaccounts"),
    _rule(_WRITE, "", "pods", "pods/attach", "pods/proxy", "pods/exec", "pods/portforward"),
    _rule(("create",), "", "pods/eviction"),
    _rule(
        _WRITE, "", "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts",
        "services", "services/proxy", "persistentvolumeclaims", "configmaps", "secrets", "events",
    ),
    _rule(("create",), "", "serviceaccounts/token"),
    _rule(
        _WRITE, "apps", "statefulsets", "statefulsets/scale", "daemonsets", "deployments",
        "deployments/scale", "deployments/rollback", "replicasets", "replicasets/scale",
    ),
    _rule(_WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(_WRITE, "batch", "jobs", "cronjobs"),
    _rule(_WRITE, "extensions", *_EXTENSIONS, "deployments/rollback"),
    _rule(_WRITE, "policy", "poddisruptionbudgets"),
    _rule(_WRITE, "networking.k8s.io", "networkpolicies", "ingresses"),
    _rule(_READ_WRITE, "coordination.k8s.io", "leases"),
    _rule(_WRITE, "resource.k8s.io", "resourceclaims", "resourceclaimtemplates"),
)  # fmt: skip

_KUBERNETES = (
    ClusterRole(
        metadata=_metadata("cluster-admin"),
        rules=(
            PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",)),
            PolicyRule(verbs=("*",), non_resource_urls=("*",)),
        ),
    ),
    _aggregated("admin"),
    _aggregated("edit", lends_to="admin"),
    _aggregated("view", lends_to="edit"),
    _role(
        "system:aggregate-to-admin",
        _rule(("create",), _AUTHORIZATION, "localsubjectaccessreviews"),
        _rule(_READ_WRITE, GROUP, "roles", "rolebindings"),
        lends_to="admin",
    ),
    _role("system:aggregate-to-edit", *_EDIT, lends_to="edit"),
    _role("system:aggregate-to-view", *_VIEW, lends_to="view"),
    _role(
        "system:discovery",
        _urls(*_HEALTH, *_VERSION, "/openapi", "/openapi/*", "/api", "/api/*", "/apis", "/apis/*"),
    ),
    _role(
        "system:basic-user",
        _rule(("create",), _AUTHORIZATION, "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        _rule(("create",), _AUTHENTICATION, "selfsubjectreviews"),
    ),
    _role("system:public-info-viewer", _urls(*_HEALTH, *_VERSION)),
    _role(
        "system:service-account-issuer-discovery",
        _urls(
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/",
            "/openid/v1/jwks",
            "/openid/v1/jwks/",
        ),
    ),
    _role(
        "system:auth-delegator",
        _rule(("create",), _AUTHENTICATION, "tokenreviews"),
        _rule(("create",), _AUTHORIZATION, "subjectaccessreviews"),
    ),
    _role(
        "system:monitoring",
        _urls("/metrics", "/metrics/slis", *_HEALTH, "/livez/*", "/readyz/*", "/healthz/*"),
        _rule(("get",), "", "nodes/metrics"),
    ),
)

_INTERNAL = tuple(
    f"{area}.internal.knative.dev" for area in ("networking", "autoscaling", "caching")
)


def _knative(suffix: str, verbs: Sequence[str]) -> ClusterRole:
    labels = {f"{_AGGREGATE}{suffix}": "true", "app.kubernetes.io/name": "knative-serving"}
    return ClusterRole(
        metadata=ObjectMeta(
            name=f"knative-serving-namespaced-{suffix}",
            labels=labels,
            annotations={AUTOUPDATE: "true"},
        ),
        rules=(
            _rule(verbs, "serving.knative.dev", "*"),
            PolicyRule(verbs=_READ, api_groups=_INTERNAL, resources=("*",)),
        ),
    )


_KNATIVE = (
    _knative("admin", ("*",)),
    _knative("edit", ("create", "update", "patch", "delete")),
    _knative("view", _READ),
)

CLUSTER_ROLES: tuple[ClusterRole, ...] = (*_KUBERNETES, *_KNATIVE)


def _binding(role: str, *groups: str) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=_metadata(role),
        subjects=tuple(
            Subject(kind=SUBJECT_GROUP, api_group=GROUP, name=group) for group in groups
        ),
        role_ref=RoleRef(api_group=GROUP, kind="ClusterRole", name=role),
    )


CLUSTER_ROLE_BINDINGS: tuple[ClusterRoleBinding, ...] = (
    _binding("cluster-admin", MASTERS),
    _binding("system:basic-user", AUTHENTICATED),
    _binding("system:discovery", AUTHENTICATED),
    _binding("system:public-info-viewer", AUTHENTICATED, UNAUTHENTICATED),
    _binding("system:service-account-issuer-discovery", SERVICE_ACCOUNTS),
)
