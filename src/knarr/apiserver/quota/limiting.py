"""LimitRanges and the default StorageClass, as allocators of the admission chain."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from knarr.apiserver.quota.objects import NamespaceObjects
from knarr.meta.errors import Forbidden
from knarr.meta.fielderrors import FieldError
from knarr.resources.core.limitrange import LIMIT_RANGE
from knarr.resources.core.persistentvolumeclaim import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
)
from knarr.resources.core.pod import Pod
from knarr.resources.core.pod_defaults import qos_class
from knarr.resources.core.storage_values import is_default_class
from knarr.resources.quota.limits import claim_problems, pod_problems, with_defaults
from knarr.resources.storage.storageclass import STORAGE_CLASS, StorageClass
from knarr.store.store import Store


def _refuse(plural: str, name: str, problems: Sequence[str]) -> None:
    if problems:
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise Forbidden(f'{plural} "{name}" is forbidden: {text}', kind=plural, name=name)


class PodLimiter:
    """Completes and bounds new Pods by the LimitRanges of their namespace."""

    def __init__(self, store: Store) -> None:
        self._ranges = NamespaceObjects(store, LIMIT_RANGE)

    def allocate(self, subject: Any, old: Any | None = None) -> tuple[Any, tuple[FieldError, ...]]:
        """The Pod with its defaults.

        Raises:
            Forbidden: it is out of bounds.
        """
        assert isinstance(subject, Pod)
        ranges = self._ranges.of(subject.metadata.namespace) if old is None else ()
        if not ranges:
            return subject, ()
        pod = with_defaults(subject, ranges)
        if pod.spec is not None and pod.status is not None:
            pod = replace(pod, status=replace(pod.status, qos_class=qos_class(pod.spec)))
        metadata = pod.metadata
        _refuse("pods", metadata.name or metadata.generate_name, pod_problems(pod, ranges))
        return pod, ()


class ClaimLimiter:
    """Gives new claims the default class, and bounds them by the LimitRanges of their namespace."""

    def __init__(self, store: Store) -> None:
        self._ranges = NamespaceObjects(store, LIMIT_RANGE)
        self._classes = NamespaceObjects(store, STORAGE_CLASS)

    def allocate(self, subject: Any, old: Any | None = None) -> tuple[Any, tuple[FieldError, ...]]:
        """The claim with its class.

        Raises:
            Forbidden: it is out of bounds.
        """
        assert isinstance(subject, PersistentVolumeClaim)
        claim = subject if old is not None else self._with_class(subject)
        ranges = self._ranges.of(claim.metadata.namespace)
        if ranges:
            _refuse("persistentvolumeclaims", claim.metadata.name, claim_problems(claim, ranges))
        return claim, ()

    def _with_class(self, claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
        spec = claim.spec or PersistentVolumeClaimSpec()
        if spec.storage_class_name is not None:
            return claim
        chosen = default_class(self._classes.of(""))
        if chosen is None:
            return claim
        return replace(claim, spec=replace(spec, storage_class_name=chosen.metadata.name))


def default_class(classes: Sequence[StorageClass]) -> StorageClass | None:
    """The class of claims that name none: of several defaults the youngest, as in Kubernetes."""
    defaults = [each for each in classes if is_default_class(each.metadata.annotations)]
    defaults.sort(key=lambda each: each.metadata.name)
    return max(defaults, key=lambda each: each.metadata.creation_timestamp or "", default=None)
