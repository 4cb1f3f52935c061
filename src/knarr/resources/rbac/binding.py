"""RoleBinding and ClusterRoleBinding (``rbac.authorization.k8s.io/v1``)."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1123_subdomain_problems
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import Cell, age_cell, get, items
from knarr.resources.fielderrors import invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors
from knarr.resources.rbac.role import GROUP, path_segment_problems

USER = "User"
SUBJECT_GROUP = "Group"
SERVICE_ACCOUNT = "ServiceAccount"


class Subject(Struct, frozen=True, kw_only=True):
    """Whom a role is given to; ``kind`` is User, Group or ServiceAccount."""

    kind: str = ""
    api_group: str = ""
    name: str = ""
    namespace: str = ""


class RoleRef(Struct, frozen=True, kw_only=True):
    """The role that is given; cannot be changed."""

    api_group: str = ""
    kind: str = ""
    name: str = ""


class RoleBinding(Resource, frozen=True, kw_only=True):
    """Gives a role to subjects in one namespace."""

    subjects: tuple[Subject, ...] = ()
    role_ref: RoleRef = RoleRef()


class ClusterRoleBinding(Resource, frozen=True, kw_only=True):
    """Gives a ClusterRole to subjects everywhere."""

    subjects: tuple[Subject, ...] = ()
    role_ref: RoleRef = RoleRef()


B = TypeVar("B", RoleBinding, ClusterRoleBinding)


def default_binding(binding: B, _: Admission) -> B:
    """The group of the role, and of users and groups."""
    subjects = tuple(
        replace(subject, api_group=GROUP)
        if not subject.api_group and subject.kind in (USER, SUBJECT_GROUP)
        else subject
        for subject in binding.subjects
    )
    reference = binding.role_ref
    if not reference.api_group:
        reference = replace(reference, api_group=GROUP)
    return replace(binding, subjects=subjects, role_ref=reference)


def _none_of(path: str, value: str, kinds: Sequence[str]) -> FieldError:
    """As ``not_supported``, but in Kubernetes' order."""
    names = ", ".join(f'"{kind}"' for kind in kinds)
    return replace(not_supported(path, value, kinds), details=f"supported values: {names}")


def _reference_errors(reference: RoleRef, kinds: Sequence[str]) -> list[FieldError]:
    errors = []
    if reference.api_group != GROUP:
        errors.append(not_supported("apiGroup", reference.api_group, [GROUP]))
    if reference.kind not in kinds:
        errors.append(_none_of("kind", reference.kind, kinds))
    if not reference.name:
        errors.append(required("name"))
    problems = path_segment_problems(reference.name)
    errors += [invalid("name", reference.name, text) for text in problems]
    return errors


def _subject_errors(subject: Subject, *, namespaced: bool) -> list[FieldError]:
    errors = [] if subject.name else [required("name")]
    if subject.kind == SERVICE_ACCOUNT:
        if subject.name:
            problems = dns1123_subdomain_problems(subject.name)
            errors += [invalid("name", subject.name, text) for text in problems]
        if subject.api_group:
            errors.append(not_supported("apiGroup", subject.api_group, [""]))
        if not namespaced and not subject.namespace:
            errors.append(required("namespace"))
    elif subject.kind in (USER, SUBJECT_GROUP):
        if subject.api_group != GROUP:
            errors.append(not_supported("apiGroup", subject.api_group, [GROUP]))
    else:
        errors.append(_none_of("kind", subject.kind, [SERVICE_ACCOUNT, USER, SUBJECT_GROUP]))
    return errors


def _binding_errors(
    binding: RoleBinding | ClusterRoleBinding, admission: Admission, kinds: Sequence[str]
) -> tuple[FieldError, ...]:
    errors = metadata_errors(binding.metadata, path_segment_problems)
    errors += at("roleRef", _reference_errors(binding.role_ref, kinds))
    namespaced = isinstance(binding, RoleBinding)
    for index, subject in enumerate(binding.subjects):
        errors += at(f"subjects[{index}]", _subject_errors(subject, namespaced=namespaced))
    old = admission.old
    if isinstance(old, RoleBinding | ClusterRoleBinding) and old.role_ref != binding.role_ref:
        # As Kubernetes shows it: by the names of its own fields.
        reference = binding.role_ref
        shown = {"APIGroup": reference.api_group, "Kind": reference.kind, "Name": reference.name}
        errors.append(invalid("roleRef", shown, "cannot change roleRef"))
    return tuple(errors)


def validate_role_binding(binding: RoleBinding, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules; the role never changes, because a new binding says it better."""
    return _binding_errors(binding, admission, ("Role", "ClusterRole"))


def validate_cluster_role_binding(
    binding: ClusterRoleBinding, admission: Admission
) -> tuple[FieldError, ...]:
    """As ``validate_role_binding``; only a ClusterRole can be given."""
    return _binding_errors(binding, admission, ("ClusterRole",))


def _role_cell(document: Mapping[str, Any], _: float) -> object:
    return f"{get(document, 'roleRef', 'kind')}/{get(document, 'roleRef', 'name')}"


def _subjects_cell(kind: str) -> Cell:
    def cell(document: Mapping[str, Any], _: float) -> object:
        found = [item for item in items(document, "subjects") if get(item, "kind") == kind]
        if kind != SERVICE_ACCOUNT:
            return ", ".join(str(get(item, "name")) for item in found)
        return ", ".join(f"{get(item, 'namespace') or ''}/{get(item, 'name')}" for item in found)

    return cell


_COLUMNS = (
    Column("Role", "string", _role_cell),
    Column("Age", "string", age_cell),
    Column("Users", "string", _subjects_cell(USER), priority=1),
    Column("Groups", "string", _subjects_cell(SUBJECT_GROUP), priority=1),
    Column("ServiceAccounts", "string", _subjects_cell(SERVICE_ACCOUNT), priority=1),
)

ROLE_BINDING: Kind[RoleBinding] = Kind(
    group=GROUP,
    version="v1",
    kind="RoleBinding",
    plural="rolebindings",
    singular="rolebinding",
    builtin=True,
    has_status=False,
    model=RoleBinding,
    columns=_COLUMNS,
    age=False,
    default=default_binding,
    validate=validate_role_binding,
)

CLUSTER_ROLE_BINDING: Kind[ClusterRoleBinding] = Kind(
    group=GROUP,
    version="v1",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    singular="clusterrolebinding",
    namespaced=False,
    builtin=True,
    has_status=False,
    model=ClusterRoleBinding,
    columns=_COLUMNS,
    age=False,
    default=default_binding,
    validate=validate_cluster_role_binding,
)
