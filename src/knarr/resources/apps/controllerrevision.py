"""ControllerRevision (``apps/v1``)."""

from collections.abc import Mapping
from typing import Any

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource
from knarr.resources.columns import NONE, get, items
from knarr.resources.fielderrors import IMMUTABLE, invalid, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors


class ControllerRevision(Resource, frozen=True, kw_only=True):
    """What the template of a StatefulSet or DaemonSet was at one time; never changes."""

    data: Any = None
    revision: int | None = None


def default_revision(subject: ControllerRevision, _: Admission) -> ControllerRevision:
    """Nothing is filled in."""
    return subject


def validate_revision(subject: ControllerRevision, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: the data stays."""
    errors = metadata_errors(subject.metadata)
    if subject.data is None:
        errors.append(required("data", "data is mandatory"))
    if (subject.revision or 0) < 0:
        detail = "must be greater than or equal to 0"
        errors.append(invalid("revision", subject.revision, detail))
    if isinstance(admission.old, ControllerRevision) and admission.old.data != subject.data:
        errors.append(invalid("data", subject.data, IMMUTABLE))
    return tuple(errors)


def _controller(document: Mapping[str, Any], _: float) -> object:
    for owner in items(document, "metadata", "ownerReferences"):
        if get(owner, "controller"):
            group = str(get(owner, "apiVersion")).rpartition("/")[0]
            kind = f"{str(get(owner, 'kind')).lower()}.{group}".rstrip(".")
            return f"{kind}/{get(owner, 'name')}"
    return NONE


CONTROLLER_REVISION: Kind[ControllerRevision] = Kind(
    group="apps",
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    singular="controllerrevision",
    builtin=True,
    has_status=False,
    model=ControllerRevision,
    columns=(
        Column("Controller", "string", _controller),
        Column("Revision", "string", lambda doc, _: str(get(doc, "revision") or 0)),
    ),
    default=default_revision,
    validate=validate_revision,
)
