"""Finds a Configuration's Revisions and computes its status; pure.

Rules of Knative ``pkg/reconciler/configuration``: one Revision per generation, looked up by its label; a
chosen name may also bring back an older Revision of the same content; the latest ready revision is the
newest Ready one between the present one's generation and the Configuration's, and never goes back except
to a chosen name.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from knarr.meta.conditions import find_condition, is_true
from knarr.meta.objects import Key, controller_of
from knarr.resources.serving import configuration_conditions as conditions
from knarr.resources.serving.configuration import Configuration, ConfigurationStatus
from knarr.resources.serving.revision import Revision
from knarr.serving import labels
from knarr.serving.configuration.resources import template_of
from knarr.serving.marks import finish_status

READY = conditions.READY


@dataclass(frozen=True, slots=True)
class Named:
    """What stands under the name that the user chose.

    Attributes:
        revision: the Configuration's own Revision of that name, or None.
        conflict: the name belongs to another Revision.
    """

    name: str
    revision: Revision | None
    conflict: bool


def find_named(
    configuration: Configuration, revision_of: Callable[[Key], Revision | None]
) -> Named | None:
    """The Revision under the chosen name; None when the user chose none."""
    template = template_of(configuration)
    name = template.metadata.name if template.metadata else ""
    if not name:
        return None
    found = revision_of(Key(configuration.metadata.namespace, name))
    if found is None:
        return Named(name, None, conflict=False)
    controller = controller_of(found)
    if controller is None or controller.uid != configuration.metadata.uid:
        return Named(name, None, conflict=True)
    same = generation_of(found) == configuration.metadata.generation
    if not same and found.spec != template.spec:
        return Named(name, None, conflict=True)
    return Named(name, found, conflict=False)


def generation_of(revision: Revision) -> int | None:
    """The Configuration's generation that a Revision was made for."""
    text = revision.metadata.label(labels.CONFIGURATION_GENERATION)
    return int(text) if text.isdecimal() else None


def find_created(
    configuration: Configuration, named: Named | None, revisions: Sequence[Revision]
) -> Revision | None:
    """The Revision that should exist for the current generation."""
    if named is not None:
        return named.revision
    generation = configuration.metadata.generation
    return next((item for item in revisions if generation_of(item) == generation), None)


def is_ready(revision: Revision) -> bool:
    """Whether a Revision is Ready and its status speaks of its newest generation."""
    status = revision.status
    return (
        status is not None
        and status.observed_generation == revision.metadata.generation
        and is_true(status.conditions, READY)
    )


def find_latest_ready(
    configuration: Configuration,
    created: Revision,
    named: Named | None,
    revisions: Sequence[Revision],
) -> Revision | None:
    """The newest Ready Revision that may take over."""
    status = configuration.status or ConfigurationStatus()
    goal = configuration.metadata.generation
    present = next(
        (item for item in revisions if item.metadata.name == status.latest_ready_revision_name),
        None,
    )
    candidates = [item for item in revisions if item.metadata.name != created.metadata.name]
    candidates.append(created)
    if present is not None:
        start = generation_of(present) or goal
        chosen = generation_of(created) if named is not None else None
        candidates = [
            item
            for item in candidates
            if (generation := generation_of(item)) is not None
            and (start <= generation <= goal or generation == chosen)
        ]
    chosen_name = named.name if named is not None else ""
    candidates.sort(
        key=lambda item: (item.metadata.name == chosen_name, generation_of(item) or 0), reverse=True
    )
    return next((item for item in candidates if is_ready(item)), None)


class ConfigurationPlan:
    """Marks made in the order in which a pass learns things; ``status`` is the result."""

    def __init__(self, configuration: Configuration, now: dt.datetime) -> None:
        self._configuration = configuration
        self._now = now
        self._status = conditions.initialize(configuration.status or ConfigurationStatus(), now)

    def creation_failed(self, message: str) -> None:
        """The Revision could not be made."""
        self._status = conditions.mark_revision_creation_failed(self._status, message, self._now)

    def follow(self, created: Revision, latest_ready: Revision | None, *, present: bool) -> None:
        """Name the newest Revisions.

        Args:
            created: of the current generation.
            latest_ready: what ``find_latest_ready`` found.
            present: whether the Revision that was latest ready still exists.
        """
        name, now = created.metadata.name, self._now
        status = conditions.set_latest_created(self._status, name, now)
        ready = find_condition(created.status.conditions if created.status else (), READY)
        if ready is not None and ready.status == "False":
            status = conditions.mark_latest_created_failed(status, name, ready.message, now)
        if latest_ready is not None:
            status = conditions.set_latest_ready(status, latest_ready.metadata.name, now)
        elif status.latest_ready_revision_name and not present:
            status = conditions.mark_latest_ready_deleted(status, now)
        self._status = status

    def status(self) -> ConfigurationStatus:
        """The status to store."""
        meta = self._configuration.metadata
        return finish_status(self._configuration.status, self._status, meta.generation)
