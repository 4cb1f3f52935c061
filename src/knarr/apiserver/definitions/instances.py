"""The objects of a kind whose definition is deleted: they go first, straight in the store.

As in Kubernetes, no admission stands in between: what a definition takes with it was decided by who
deleted the definition. Finalizers of the objects are respected.
"""

import asyncio
from typing import Final

import msgspec

from knarr.apiserver.deleting import DeleteOptions, plan_delete
from knarr.apiserver.served import Served
from knarr.kits.clock import Clock
from knarr.meta.errors import Conflict, NotFound, StatusError
from knarr.meta.objects import Key, ObjectMeta, Resource
from knarr.store.store import Store

_AT_ONCE: Final = 64


class Instances:
    """Deletes the objects of collections.

    Args:
        store: entered.
        clock: for deletion timestamps.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def remaining(self, collection: str) -> list[ObjectMeta]:
        """The metadata of what is left, those that are just being written included."""
        decoder = msgspec.json.Decoder(Resource)
        return [decoder.decode(data).metadata for data in self._store.newest_within(collection)]

    async def delete_all(self, collection: str, served: Served) -> None:
        """Delete every object that is not being deleted; 64 at once share their commits.

        Args:
            collection: where they are.
            served: their kind, in any version.

        Raises:
            StatusError: the store refuses writes.
        """
        keys = [
            Key(metadata.namespace, metadata.name)
            for metadata in self.remaining(collection)
            if metadata.deletion_timestamp is None
        ]
        for start in range(0, len(keys), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                some = keys[start : start + _AT_ONCE]
                tasks = [group.create_task(self._delete(served, key)) for key in some]
            for task in tasks:
                if (refusal := task.result()) is not None:
                    raise refusal

    async def _delete(self, served: Served, key: Key) -> StatusError | None:
        entry = self._store.newest(served.collection, key)
        if entry is None:
            return None
        subject = served.decode(entry.data)
        plan = plan_delete(served, subject, DeleteOptions(), self._clock.wall())
        write = self._store.delete if plan.remove else self._store.update
        try:
            await write(served.collection, key, entry.rv, served.maker(plan.subject))
        except (Conflict, NotFound):
            # someone else wrote it: its event brings us back
            return None
        except StatusError as error:
            return error
        return None
