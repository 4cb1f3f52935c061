"""Pods as they are admitted: their ServiceAccount must exist and gives them a token.

An ``Allocator`` in shape. The account ``default`` counts as existing before its controller has made it: in a
new namespace Kubernetes waits for it here, for a second at most.
"""

import random
from typing import Any

import msgspec
from msgspec.structs import replace

from knarr.meta.errors import Forbidden
from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Key
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.core.tokenvolume import DEFAULT_ACCOUNT, admit_spec
from knarr.store.store import Store

COLLECTION = "serviceaccounts"


def admit_pod(pod: Pod, account: ServiceAccount, rng: random.Random) -> Pod:
    """A new Pod with what its account gives it. Pure."""
    spec = pod.spec or PodSpec()
    name = spec.service_account_name or DEFAULT_ACCOUNT
    spec = replace(spec, service_account_name=name, service_account=name)
    return replace(pod, spec=admit_spec(spec, account, rng))


class PodIdentities:
    """Looks accounts up for ``admit_pod``.

    Args:
        store: the ServiceAccounts that exist.
        rng: for names of volumes.
    """

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store = store
        self._rng = rng
        self._decoder = msgspec.json.Decoder(ServiceAccount)

    def allocate(self, subject: Any, old: Any | None = None) -> tuple[Any, tuple[FieldError, ...]]:
        """The Pod with its account's volume and pull secrets; one that exists keeps what it has.

        Raises:
            Forbidden: there is no such account.
        """
        assert isinstance(subject, Pod)
        if old is not None:
            return subject, ()
        return admit_pod(subject, self._account(subject), self._rng), ()

    def _account(self, pod: Pod) -> ServiceAccount:
        name = (pod.spec.service_account_name if pod.spec else "") or DEFAULT_ACCOUNT
        namespace = pod.metadata.namespace
        entry = self._store.newest(COLLECTION, Key(namespace, name))
        if entry is not None:
            return self._decoder.decode(entry.data)
        if name == DEFAULT_ACCOUNT:
            return ServiceAccount()
        shown = pod.metadata.name or pod.metadata.generate_name
        raise Forbidden(
            f'pods "{shown}" is forbidden: error looking up service account {namespace}/{name}: '
            f'serviceaccount "{name}" not found',
            kind="pods",
            name=shown,
        )
