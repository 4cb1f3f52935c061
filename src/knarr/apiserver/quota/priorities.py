"""PriorityClasses: a Pod names one, its number is written into it."""

from typing import Any

from msgspec.structs import replace

from knarr.apiserver.quota.objects import NamespaceObjects
from knarr.meta.errors import Forbidden
from knarr.meta.fielderrors import FieldError
from knarr.resources.core.pod import Pod
from knarr.resources.scheduling.priorityclass import (
    PRIORITY_CLASS,
    SYSTEM_CLASSES,
    PriorityClass,
)
from knarr.store.store import Store

_PREEMPT = "PreemptLowerPriority"


class PriorityResolver:
    """Gives new Pods the priority of their class."""

    def __init__(self, store: Store) -> None:
        self._classes = NamespaceObjects(store, PRIORITY_CLASS)

    def allocate(self, subject: Any, old: Any | None = None) -> tuple[Any, tuple[FieldError, ...]]:
        """The Pod with its priority.

        Raises:
            Forbidden: there is no such class, or the Pod names another number than its class has.
        """
        assert isinstance(subject, Pod)
        spec = subject.spec
        if old is not None or spec is None:
            return subject, ()
        name = subject.metadata.name or subject.metadata.generate_name
        chosen = self._find(spec.priority_class_name, name)
        value = (chosen.value or 0) if chosen is not None else 0
        if spec.priority is not None and spec.priority != value:
            text = (
                f"the integer value of priority ({spec.priority}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
            raise _forbidden(name, text)
        spec = replace(
            spec,
            priority=value,
            priority_class_name=chosen.metadata.name if chosen is not None else "",
            preemption_policy=spec.preemption_policy
            or (chosen.preemption_policy if chosen is not None else None)
            or _PREEMPT,
        )
        return replace(subject, spec=spec), ()

    def _find(self, wanted: str, pod: str) -> PriorityClass | None:
        classes = self._classes.of("")
        if not wanted:
            defaults = [each for each in classes if each.global_default]
            return min(defaults, key=lambda each: each.value or 0, default=None)
        for each in classes:
            if each.metadata.name == wanted:
                return each
        if wanted in SYSTEM_CLASSES:
            metadata = replace(PriorityClass().metadata, name=wanted)
            return PriorityClass(metadata=metadata, value=SYSTEM_CLASSES[wanted])
        raise _forbidden(pod, f"no PriorityClass with name {wanted} was found")


def _forbidden(name: str, text: str) -> Forbidden:
    return Forbidden(f'pods "{name}" is forbidden: {text}', kind="pods", name=name)
