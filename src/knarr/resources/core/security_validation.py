"""Rules for security contexts, in Kubernetes' words."""

from knarr.meta.fielderrors import FieldError
from knarr.resources.core.container import SeccompProfile, SecurityContext
from knarr.resources.core.podspec import PodSecurityContext
from knarr.resources.fielderrors import invalid, not_supported, required

MAX_ID = 2**31 - 1
_SECCOMP_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")


def id_errors(path: str, value: int | None) -> list[FieldError]:
    """A numeric user or group."""
    if value is None or 0 <= value <= MAX_ID:
        return []
    return [invalid(path, value, f"must be between 0 and {MAX_ID}, inclusive")]


def seccomp_errors(profile: SeccompProfile | None) -> list[FieldError]:
    """A seccomp profile; paths begin with ``seccompProfile``."""
    if profile is None:
        return []
    if not profile.type:
        return [required("seccompProfile.type", "type is required when seccompProfile is set")]
    if profile.type not in _SECCOMP_TYPES:
        return [not_supported("seccompProfile.type", profile.type, _SECCOMP_TYPES)]
    if profile.type == "Localhost" and not profile.localhost_profile:
        detail = "must be set when seccomp type is Localhost"
        return [required("seccompProfile.localhostProfile", detail)]
    if profile.type != "Localhost" and profile.localhost_profile is not None:
        detail = "can only be set when seccomp type is Localhost"
        return [invalid("seccompProfile.localhostProfile", profile.localhost_profile, detail)]
    return []


def security_context_errors(context: SecurityContext | None) -> list[FieldError]:
    """A container's security context."""
    if context is None:
        return []
    errors = id_errors("runAsUser", context.run_as_user)
    errors += id_errors("runAsGroup", context.run_as_group)
    errors += seccomp_errors(context.seccomp_profile)
    if context.allow_privilege_escalation is False:
        if context.privileged:
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(invalid("", "", detail))
        added = context.capabilities.add if context.capabilities else ()
        if {"CAP_SYS_ADMIN", "SYS_ADMIN"} & set(added):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(invalid("", "", detail))
    return errors


def pod_security_context_errors(context: PodSecurityContext | None) -> list[FieldError]:
    """A Pod's security context."""
    if context is None:
        return []
    errors = id_errors("runAsUser", context.run_as_user)
    errors += id_errors("runAsGroup", context.run_as_group)
    errors += id_errors("fsGroup", context.fs_group)
    for index, group in enumerate(context.supplemental_groups):
        errors += id_errors(f"supplementalGroups[{index}]", group)
    return errors + seccomp_errors(context.seccomp_profile)
