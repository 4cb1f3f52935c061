"""ControllerRevisions: what the template of a StatefulSet or DaemonSet was; pure.

The data is a strategic merge patch that replaces the template, so that ``kubectl rollout undo`` can send it
as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta, Resource, owner_reference
from knarr.resources.apps.controllerrevision import ControllerRevision
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.workloads.deployment.resources import template_hash

HASH_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of an object, and what must be written.

    Attributes:
        current: the revision of the template as it is now.
        create: ``current`` does not exist yet.
        renumber: ``current`` exists under an older number: the template was rolled back to it.
        others: all others, oldest first.
    """

    current: ControllerRevision
    create: bool
    renumber: bool
    others: tuple[ControllerRevision, ...]


def data_of(template: PodTemplateSpec) -> dict[str, Any]:
    """The data of a revision."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(template))
    return {"spec": {"template": {**document, "$patch": "replace"}}}


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision holds.

    Raises:
        ValueError: it holds none.
    """
    try:
        document = dict(revision.data["spec"]["template"])
        document.pop("$patch", None)
        return msgspec.convert(document, PodTemplateSpec)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        name = revision.metadata.name
        raise ValueError(f"ControllerRevision {name} holds no template: {error}") from error


def hash_of(revision: ControllerRevision) -> str:
    """The value of the Pods' label: the end of the revision's name."""
    return revision.metadata.label(HASH_LABEL)


def plan_history(
    owner: Resource,
    template: PodTemplateSpec,
    revisions: Sequence[ControllerRevision],
    collisions: int,
) -> History:
    """Find or make the revision of a template.

    Args:
        owner: the StatefulSet or DaemonSet.
        template: its template.
        revisions: those that it controls.
        collisions: how often a name was taken by something else.
    """
    known = sorted(revisions, key=lambda one: (one.revision or 0, one.metadata.name))
    newest = known[-1].revision or 0 if known else 0
    data = data_of(template)
    for one in known:
        if one.data == data:
            others = tuple(each for each in known if each is not one)
            renumber = (one.revision or 0) < newest
            current = replace(one, revision=newest + 1) if renumber else one
            return History(current, create=False, renumber=renumber, others=others)
    digest = template_hash(template, collisions)
    metadata = template.metadata or ObjectMeta()
    made = ControllerRevision(
        metadata=ObjectMeta(
            name=f"{owner.metadata.name}-{digest}",
            namespace=owner.metadata.namespace,
            labels={**(metadata.labels or {}), HASH_LABEL: digest},
            annotations=_carried(owner),
            owner_references=(owner_reference(owner),),
        ),
        data=data,
        revision=newest + 1,
    )
    return History(made, create=True, renumber=False, others=tuple(known))


def _carried(owner: Resource) -> dict[str, str] | None:
    """``kubectl rollout history`` shows the cause of a change."""
    cause = owner.metadata.annotation("kubernetes.io/change-cause")
    return {"kubernetes.io/change-cause": cause} if cause else None


def surplus(
    history: History, used: frozenset[str], limit: int | None
) -> tuple[ControllerRevision, ...]:
    """Old revisions beyond the limit that nothing uses, oldest first.

    Args:
        history: of an object.
        used: names of revisions that Pods or the status still refer to.
        limit: how many old ones to keep; None is ten.
    """
    idle = [one for one in history.others if one.metadata.name not in used]
    return tuple(idle[: max(0, len(idle) - (10 if limit is None else limit))])
