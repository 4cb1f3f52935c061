"""Rules for Pods and Pod templates, in Kubernetes' words."""

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1123_label_problems, dns1123_subdomain_problems
from knarr.resources.core.container_validation import container_errors
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.security_validation import pod_security_context_errors
from knarr.resources.core.volume_validation import volumes_errors
from knarr.resources.fielderrors import (
    duplicates,
    forbidden,
    invalid,
    not_supported,
    required,
)
from knarr.resources.metadata import annotation_errors, label_errors

_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_DNS_POLICIES = ("ClusterFirst", "Default")
_INIT_ONLY = "may not be set for init containers without restartPolicy=Always"
_CHANGE_TEXT = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def pod_spec_errors(
    spec: PodSpec | None, more_volumes: frozenset[str] = frozenset()
) -> tuple[FieldError, ...]:
    """A Pod's spec; paths are relative to it. ``more_volumes`` will be there besides its own."""
    if spec is None:
        return (required("containers"),)
    errors = volumes_errors(spec.volumes)
    volumes = more_volumes.union(volume.name for volume in spec.volumes)
    if not spec.containers:
        errors.append(required("containers"))
    for index, container in enumerate(spec.containers):
        errors += at(f"containers[{index}]", container_errors(container, volumes))
    for index, container in enumerate(spec.init_containers):
        found = container_errors(container, volumes)
        for name in ("liveness_probe", "readiness_probe", "startup_probe", "lifecycle"):
            if getattr(container, name) is not None:
                found.append(forbidden(_camel(name), _INIT_ONLY))
        errors += at(f"initContainers[{index}]", found)
    errors += duplicates("containers", [item.name for item in spec.containers])
    names = {item.name for item in spec.containers}
    errors += [
        invalid(f"initContainers[{index}].name", item.name, "must differ from every container's")
        for index, item in enumerate(spec.init_containers)
        if item.name in names
    ]
    errors += duplicates("initContainers", [item.name for item in spec.init_containers])
    errors += at("securityContext", pod_security_context_errors(spec.security_context))
    return (*errors, *_policy_errors(spec), *_name_errors(spec))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _policy_errors(spec: PodSpec) -> list[FieldError]:
    errors = []
    if spec.restart_policy not in {"", *_RESTART_POLICIES}:
        errors.append(not_supported("restartPolicy", spec.restart_policy, _RESTART_POLICIES))
    if spec.dns_policy not in {"", *_DNS_POLICIES}:
        errors.append(not_supported("dnsPolicy", spec.dns_policy, _DNS_POLICIES))
    grace = spec.termination_grace_period_seconds
    if grace is not None and grace < 0:
        errors.append(
            invalid("terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")
        )
    return errors


def _name_errors(spec: PodSpec) -> list[FieldError]:
    errors: list[FieldError] = label_errors(spec.node_selector, "nodeSelector")
    if spec.service_account_name:
        errors += [
            invalid("serviceAccountName", spec.service_account_name, text)
            for text in dns1123_subdomain_problems(spec.service_account_name)
        ]
    if spec.hostname:
        errors += [
            invalid("hostname", spec.hostname, text)
            for text in dns1123_label_problems(spec.hostname)
        ]
    if spec.subdomain:
        errors += [
            invalid("subdomain", spec.subdomain, text)
            for text in dns1123_label_problems(spec.subdomain)
        ]
    if spec.node_name:
        errors += [
            invalid("nodeName", spec.node_name, text)
            for text in dns1123_subdomain_problems(spec.node_name)
        ]
    errors += [
        required(f"imagePullSecrets[{index}].name")
        for index, secret in enumerate(spec.image_pull_secrets)
        if not secret.name
    ]
    return errors


def template_errors(
    template: PodTemplateSpec | None, more_volumes: frozenset[str] = frozenset()
) -> tuple[FieldError, ...]:
    """The template of a Deployment or its like; paths are relative to it."""
    errors = any_template_errors(template, more_volumes)
    policy = template.spec.restart_policy if template and template.spec else ""
    if policy in {"Never", "OnFailure"}:
        return (*errors, not_supported("spec.restartPolicy", policy, ("Always",)))
    return errors


def any_template_errors(
    template: PodTemplateSpec | None, more_volumes: frozenset[str] = frozenset()
) -> tuple[FieldError, ...]:
    """A template of Pods that may end or not; paths are relative to it."""
    if template is None:
        return (required(""),)
    errors: list[FieldError] = []
    if template.metadata is not None:
        errors += label_errors(template.metadata.labels, "metadata.labels")
        errors += annotation_errors(template.metadata.annotations, "metadata.annotations")
    errors += at("spec", pod_spec_errors(template.spec, more_volumes))
    return tuple(errors)


def pod_update_errors(old: PodSpec | None, new: PodSpec | None) -> tuple[FieldError, ...]:
    """What must not change in a Pod that exists; paths are relative to its spec."""
    if old is None or new is None:
        return ()
    if len(old.containers) != len(new.containers):
        return (forbidden("containers", "pod updates may not add or remove containers"),)
    if old.node_name and old.node_name != new.node_name:
        return (forbidden("nodeName", "a Pod that was assigned to a node stays there"),)
    images = [item.image for item in new.containers]
    unchanged = replace(
        old,
        containers=tuple(
            replace(item, image=image) for item, image in zip(old.containers, images, strict=True)
        ),
        node_name=new.node_name,
        tolerations=new.tolerations,
        termination_grace_period_seconds=new.termination_grace_period_seconds,
    )
    return () if unchanged == new else (forbidden("", _CHANGE_TEXT),)
