"""Who owns whom, read from the informers of all kinds."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from knarr.kube.handlers import BY_OWNER, owner_uids
from knarr.kube.informer import Informer
from knarr.meta.objects import Key, OwnerReference, Resource
from knarr.resources.kind import Kind

BY_UID = "uid"
_REMEMBERED_GONE = 16_384


def own_uid(subject: Resource) -> tuple[str, ...]:
    """Index function: the object's uid."""
    return (subject.metadata.uid,)


class Graph:
    """Owners and dependents across kinds.

    Uids that were seen to go are remembered (the last 16,384): a uid never comes back, so no request is
    needed to be sure of them.
    """

    def __init__(self, informers: Sequence[Informer[Any]]) -> None:
        self.informers = tuple(informers)
        self._by_kind = {
            (informer.kind.group, informer.kind.kind): informer for informer in self.informers
        }
        self._gone: OrderedDict[str, None] = OrderedDict()
        for informer in self.informers:
            informer.add_index(BY_OWNER, owner_uids)
            informer.add_index(BY_UID, own_uid)

    def remember_gone(self, uid: str) -> None:
        """An object of this uid does not exist any more."""
        self._gone[uid] = None
        if len(self._gone) > _REMEMBERED_GONE:
            self._gone.popitem(last=False)

    def is_gone(self, uid: str) -> bool:
        """Whether an object of this uid is known to have gone."""
        return uid in self._gone

    def dependents(self, uid: str) -> Iterator[tuple[Kind[Any], Resource]]:
        """All objects that name ``uid`` as an owner."""
        for informer in self.informers:
            for dependent in informer.by_index(BY_OWNER, uid):
                yield informer.kind, dependent

    def dependent_keys(self, uid: str) -> Iterator[tuple[Kind[Any], Key]]:
        """As ``dependents``, without decoding."""
        for informer in self.informers:
            for key in informer.keys_by_index(BY_OWNER, uid):
                yield informer.kind, key

    def has_dependents(self, uid: str) -> bool:
        """Whether any object names ``uid`` as an owner."""
        return next(self.dependent_keys(uid), None) is not None

    def informer_of(self, reference: OwnerReference) -> Informer[Any] | None:
        """The informer of an owner's kind, whatever the version; None for kinds nobody knows here."""
        group, _, _ = reference.api_version.rpartition("/")
        return self._by_kind.get((group, reference.kind))

    def find(self, reference: OwnerReference) -> Resource | None:
        """The owner, in whatever namespace it is cached; None when it is not."""
        informer = self.informer_of(reference)
        found = informer.by_index(BY_UID, reference.uid) if informer is not None else ()
        return found[0] if found else None
