"""Who owns whom, read from the informers of all kinds."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from knarr.kube.handlers import BY_OWNER, owner_uids
from knarr.kube.informer import Informer
from knarr.meta.objects import Key, OwnerReference, Resource
from knarr.resources.kind import Kind

BY_UID = "uid"
_REMEMBERED_GONE = 16_384
_REMEMBERED_STRANGERS = 16_384


def own_uid(subject: Resource) -> tuple[str, ...]:
    """Index function: the object's uid."""
    return (subject.metadata.uid,)


class Graph:
    """Owners and dependents across kinds.

    Uids that were seen to go are remembered (the last 16,384): a uid never comes back, so no request is
    needed to be sure of them.
    """

    def __init__(self, informers: Iterable[Informer[Any]]) -> None:
        self.informers: tuple[Informer[Any], ...] = ()
        self._by_kind: dict[tuple[str, str], Informer[Any]] = {}
        self._gone: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._strangers: dict[tuple[str, str], set[tuple[str, Key]]] = {}
        self._strangers_lost = False
        for informer in informers:
            self.add(informer)

    def add(self, informer: Informer[Any]) -> None:
        """A kind has come."""
        informer.add_index(BY_OWNER, owner_uids)
        informer.add_index(BY_UID, own_uid)
        self.informers = (*self.informers, informer)
        self._by_kind[informer.kind.group, informer.kind.kind] = informer

    def remove(self, informer: Informer[Any]) -> None:
        """A kind has gone."""
        self.informers = tuple(each for each in self.informers if each is not informer)
        place = (informer.kind.group, informer.kind.kind)
        if self._by_kind.get(place) is informer:
            del self._by_kind[place]

    @property
    def complete(self) -> bool:
        """Whether every kind's cache was complete once: only then nothing proves that there is nothing."""
        return all(informer.synced for informer in self.informers)

    # Objects with owners of a kind that is not here: they are judged again when it comes.

    def note_stranger(self, reference: OwnerReference, kind: Kind[Any], key: Key) -> None:
        """An object names an owner of a kind that is not here.

        16,384 such objects are remembered; beyond that, all objects are looked through when a kind comes.
        """
        if sum(map(len, self._strangers.values())) >= _REMEMBERED_STRANGERS:
            self._strangers.clear()
            self._strangers_lost = True
        if not self._strangers_lost:
            found = self._strangers.setdefault(_place(reference), set())
            found.add((kind.qualified_plural, key))

    def take_strangers(self, kind: Kind[Any]) -> Iterator[tuple[str, Key]]:
        """The objects that name owners of a kind that has come: qualified plural and key."""
        if not self._strangers_lost:
            yield from self._strangers.pop((kind.group, kind.kind), ())
            return
        for informer in self.informers:
            for subject in informer.list():
                owners = subject.metadata.owner_references or ()
                if any(_place(owner) == (kind.group, kind.kind) for owner in owners):
                    yield informer.kind.qualified_plural, subject.key

    def remember_gone(self, kind: Kind[Any], uid: str) -> None:
        """An object of this kind and uid does not exist any more."""
        self._gone[uid] = (kind.group, kind.kind)
        if len(self._gone) > _REMEMBERED_GONE:
            self._gone.popitem(last=False)

    def is_gone(self, reference: OwnerReference) -> bool:
        """Whether an owner is known to have gone."""
        return self._gone.get(reference.uid) == _place(reference)

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
        return self._by_kind.get(_place(reference))

    def find(self, reference: OwnerReference) -> Resource | None:
        """The owner, in whatever namespace it is cached; None when it is not."""
        informer = self.informer_of(reference)
        found = informer.by_index(BY_UID, reference.uid) if informer is not None else ()
        return found[0] if found else None


def _place(reference: OwnerReference) -> tuple[str, str]:
    """The group and the kind of an owner."""
    group, _, _ = reference.api_version.rpartition("/")
    return group, reference.kind
