"""Rules for a Revision's spec and template, in Knative's words."""

from dataclasses import dataclass

from knarr.meta.fielderrors import (
    FieldError,
    at,
    disallowed,
    invalid_value,
    missing,
    out_of_bounds,
)
from knarr.meta.names import dns1035_label_problems, dns1123_subdomain_problems
from knarr.meta.objects import ObjectMeta
from knarr.resources.config import features as flags
from knarr.resources.config.autoscaler import AutoscalerConfig
from knarr.resources.config.defaults import Defaults
from knarr.resources.config.features import Features
from knarr.resources.core.container import SecurityContext
from knarr.resources.core.podspec import PodSecurityContext
from knarr.resources.serving.annotations import (
    networking_errors,
    progress_deadline_errors,
    queue_errors,
)
from knarr.resources.serving.autoscaling_annotations import autoscaling_errors
from knarr.resources.serving.container_validation import (
    ContainerContext,
    Role,
    container_errors,
    id_errors,
)
from knarr.resources.serving.diff import short_diff
from knarr.resources.serving.metadata import listed, prefix_problems
from knarr.resources.serving.podspec import RevisionSpec, RevisionTemplate
from knarr.resources.serving.podspec_defaults import normalize_template
from knarr.resources.serving.volume_validation import unsupported, volumes_errors

_NEVER = (
    ("restartPolicy", "restart_policy"),
    ("terminationGracePeriodSeconds", "termination_grace_period_seconds"),
    ("nodeName", "node_name"),
    ("hostname", "hostname"),
    ("subdomain", "subdomain"),
    ("priority", "priority"),
    ("preemptionPolicy", "preemption_policy"),
    ("serviceAccount", "service_account"),
)
_GATED = (  # path, attribute, flag, whether Knarr honours it
    ("affinity", "affinity", "affinity", False),
    (
        "topologySpreadConstraints",
        "topology_spread_constraints",
        "topologyspreadconstraints",
        False,
    ),
    ("hostAliases", "host_aliases", "hostaliases", False),
    ("nodeSelector", "node_selector", "nodeselector", True),
    ("runtimeClassName", "runtime_class_name", "runtimeclassname", False),
    ("tolerations", "tolerations", "tolerations", True),
    ("shareProcessNamespace", "share_process_namespace", "shareprocessnamespace", False),
    ("priorityClassName", "priority_class_name", "priorityclassname", True),
    ("schedulerName", "scheduler_name", "schedulername", True),
    ("initContainers", "init_containers", "init-containers", True),
    ("dnsPolicy", "dns_policy", "dnspolicy", True),
    ("dnsConfig", "dns_config", "dnsconfig", False),
    ("hostIPC", "host_ipc", "hostipc", False),
    ("hostPID", "host_pid", "hostpid", False),
    ("hostNetwork", "host_network", "hostnetwork", False),
)
_DNS_POLICIES = frozenset({"ClusterFirst", "Default"})
_INSECURE = (
    "Kubernetes default value is insecure, Knative may default this to secure in a future release"
)


@dataclass(frozen=True, slots=True)
class Configs:
    """The ConfigMaps that the rules depend on."""

    defaults: Defaults
    features: Features
    autoscaler: AutoscalerConfig


def template_errors(
    template: RevisionTemplate, parent: ObjectMeta, configs: Configs
) -> list[FieldError]:
    """The template of a Service or Configuration; paths are relative to it."""
    metadata = template.metadata or ObjectMeta()
    annotations = metadata.annotations
    found = [
        *autoscaling_errors(annotations, configs.autoscaler),
        *networking_errors(annotations),
        *queue_errors(annotations),
        *progress_deadline_errors(annotations),
    ]
    return [
        *at("spec", spec_errors(template.spec or RevisionSpec(), configs)),
        *at("metadata.annotations", found),
        *at("metadata", _name_errors(metadata, parent)),
    ]


def _name_errors(metadata: ObjectMeta, parent: ObjectMeta) -> list[FieldError]:
    """A name the user chose for the Revision."""
    if metadata.generate_name and (problems := prefix_problems(metadata.generate_name)):
        text = f"not a DNS 1035 label prefix: {listed(problems)}"
        return [invalid_value(text, "generateName")]
    name = metadata.name
    if not name:
        return []
    if problems := dns1035_label_problems(name):
        return [invalid_value(f"not a DNS 1035 label: {listed(problems)}", "name")]
    if not parent.name and parent.generate_name:
        return [disallowed("name")]
    prefix = f"{parent.name}-"
    if not name.startswith(prefix):
        return [invalid_value(f'"{name}" must have prefix "{prefix}"', "name")]
    return []


def name_change_errors(
    old: RevisionTemplate | None, new: RevisionTemplate | None
) -> list[FieldError]:
    """A template that keeps the name the user chose must not change; paths are relative to it."""
    before, after = old or RevisionTemplate(), new or RevisionTemplate()
    name = after.metadata.name if after.metadata else ""
    if not name or before.metadata is None or before.metadata.name != name:
        return []
    root = "{*v1.RevisionTemplateSpec}"
    difference = short_diff(root, normalize_template(before), normalize_template(after))
    if not difference:
        return []
    text = "Saw the following changes without a name change (-old +new)"
    return [FieldError(message=text, paths=("metadata.name",), details=difference)]


def spec_errors(spec: RevisionSpec, configs: Configs) -> list[FieldError]:
    """A Revision's spec; paths are relative to it."""
    errors = _pod_errors(spec, configs.features)
    timeout, most = spec.timeout_seconds, configs.defaults.max_revision_timeout_seconds
    if timeout is not None and not 0 <= timeout <= most:
        errors.append(out_of_bounds(timeout, 0, most, "timeoutSeconds"))
    if spec.container_concurrency is not None:
        errors += concurrency_errors(spec.container_concurrency, configs.defaults)
    return errors


def concurrency_errors(value: int, defaults: Defaults) -> list[FieldError]:
    """``containerConcurrency`` within the cluster's bounds."""
    least = 0 if defaults.allow_container_concurrency_zero else 1
    most = defaults.container_concurrency_max_limit
    if least <= value <= most:
        return []
    return [out_of_bounds(value, least, most, "containerConcurrency")]


def _pod_errors(spec: RevisionSpec, features: Features) -> list[FieldError]:
    errors = _masked_errors(spec, features)
    errors += at("securityContext", _pod_security_errors(spec.security_context, features))
    for name, containers in (
        ("containers", spec.containers),
        ("initContainers", spec.init_containers),
    ):
        for index, container in enumerate(containers):
            found = _warnings(spec.security_context, container.security_context, features)
            errors += at(f"{name}[{index}].securityContext", found)
    every = (*spec.init_containers, *spec.containers)
    errors += volumes_errors(spec.volumes, every, features)
    errors += _containers_errors(spec, features)
    if spec.service_account_name:
        errors += [
            invalid_value(spec.service_account_name, "serviceAccountName", text)
            for text in dns1123_subdomain_problems(spec.service_account_name)
        ]
    return errors


def _masked_errors(spec: RevisionSpec, features: Features) -> list[FieldError]:
    refused = [path for path, name in _NEVER if getattr(spec, name) not in (None, "")]
    errors = []
    if spec.automount_service_account_token:
        refused.append("automountServiceAccountToken")
    for path, name, flag, honoured in _GATED:
        if not getattr(spec, name):
            continue
        if features.disabled(f"kubernetes.podspec-{flag}"):
            refused.append(path)
        elif not honoured:
            errors.append(unsupported(path))
    secured = features.disabled(flags.SECURITY_CONTEXT) and not features.secure_pod_defaults
    if spec.security_context is not None and secured:
        refused.append("securityContext")
    policy = spec.dns_policy
    if policy and "dnsPolicy" not in refused and policy not in _DNS_POLICIES:
        errors.append(invalid_value(policy, "dnsPolicy", "Knarr supports ClusterFirst and Default"))
    return [*errors, disallowed(*refused)] if refused else errors


def _pod_security_errors(
    context: PodSecurityContext | None, features: Features
) -> list[FieldError]:
    if context is None:
        return []
    refused = []
    if features.disabled(flags.SECURITY_CONTEXT):
        fields = {
            "runAsUser": context.run_as_user is not None,
            "runAsGroup": context.run_as_group is not None,
            "runAsNonRoot": context.run_as_non_root is not None,
            "fsGroup": context.fs_group is not None,
            "supplementalGroups": bool(context.supplemental_groups),
            "seccompProfile": _seccomp_refused(context, features),
        }
        refused = [name for name, is_set in fields.items() if is_set]
    errors = [disallowed(*refused)] if refused else []
    errors += id_errors("runAsUser", context.run_as_user)
    errors += id_errors("runAsGroup", context.run_as_group)
    errors += id_errors("fsGroup", context.fs_group)
    for index, group in enumerate(context.supplemental_groups):
        errors += id_errors(f"supplementalGroups[{index}]", group)
    return errors


def _seccomp_refused(context: PodSecurityContext, features: Features) -> bool:
    profile = context.seccomp_profile
    if profile is None:
        return False
    allowed = profile.type in {"RuntimeDefault", "Unconfined"} and not profile.localhost_profile
    return not (features.secure_pod_defaults and allowed)


def _warnings(
    pod: PodSecurityContext | None, context: SecurityContext | None, features: Features
) -> list[FieldError]:
    """What is insecure by default; warnings never block."""
    if features.secure_pod_defaults:
        return []
    pod, context = pod or PodSecurityContext(), context or SecurityContext()
    paths = []
    if pod.run_as_non_root is None and context.run_as_non_root is None:
        paths.append("runAsNonRoot")
    if context.allow_privilege_escalation is None:
        paths.append("allowPrivilegeEscalation")
    profiles = [item for item in (pod.seccomp_profile, context.seccomp_profile) if item]
    if not profiles:
        paths.append("seccompProfile")
    elif not any(profile.type for profile in profiles):
        paths.append("seccompProfile.type")
    if context.capabilities is None:
        paths.append("capabilities")
    elif not context.capabilities.drop:
        paths.append("capabilities.drop")
    found = [FieldError(message=_INSECURE, paths=tuple(paths), level="warning")] if paths else []
    if context.capabilities and context.capabilities.drop[:1] == ("all",):
        found.append(
            FieldError(
                message="invalid value: all",
                paths=("capabilities.drop",),
                details="Must be spelled as 'ALL'",
                level="warning",
            )
        )
    return found


def _containers_errors(spec: RevisionSpec, features: Features) -> list[FieldError]:
    errors = _init_containers_errors(spec, features)
    ports = [port for container in spec.containers for port in container.ports]
    if not ports and len(spec.containers) > 1:
        errors.append(missing("containers[*].ports"))
    elif len(ports) > 1:
        errors.append(
            FieldError(
                message="more than one container port is set",
                paths=("containers[*].ports",),
                details="Only a single port is allowed across all containers",
            )
        )
    if not spec.containers:
        return [*errors, missing("containers")]
    count = len(spec.containers)
    if count > 1 and not features.enabled(flags.MULTI_CONTAINER):
        text = f"multi-container is off, but found {count} containers"
        return [*errors, FieldError(message=text, paths=())]
    names: set[str] = set()
    volumes = {volume.name: volume for volume in spec.volumes}
    port_name = ports[-1].name if ports and ports[-1].name else "http"
    for index, container in enumerate(spec.containers):
        found = []
        if container.name in names and count > 1:
            text = f'duplicate container name "{container.name}"'
            found.append(FieldError(message=text, paths=("name",)))
        names.add(container.name)
        role: Role = "serving" if count == 1 or container.ports else "sidecar"
        context = ContainerContext(role, features, volumes, port_name)
        found += container_errors(container, context)
        errors += at(f"containers[{index}]", found)
    return errors


def _init_containers_errors(spec: RevisionSpec, features: Features) -> list[FieldError]:
    count = len(spec.init_containers)
    if not count:
        return []
    if not features.enabled(flags.INIT_CONTAINERS):
        text = f"pod spec support for init-containers is off, but found {count} init containers"
        return [FieldError(message=text, paths=())]
    names = {container.name for container in spec.containers}
    volumes = {volume.name: volume for volume in spec.volumes}
    errors: list[FieldError] = []
    for index, container in enumerate(spec.init_containers):
        found = []
        if container.name in names:
            text = f'duplicate container name "{container.name}"'
            found.append(FieldError(message=text, paths=("name",)))
        context = ContainerContext("init", features, volumes)
        found += container_errors(container, context)
        # Knative names init containers like this, too.
        errors += at(f"containers[{index}]", found)
    return errors
