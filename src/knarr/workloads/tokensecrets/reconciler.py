"""Long-lived tokens for those who ask by making a Secret (Kubernetes ``pkg/controller/serviceaccount``).

Such a Secret names its account in an annotation, gets a token that is good as long as the Secret exists, and
goes when the account goes.
"""

from typing import Protocol

from msgspec.structs import replace

from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.core.secret import (
    ACCOUNT_NAME,
    ACCOUNT_UID,
    SECRET,
    SERVICE_ACCOUNT_TOKEN,
    Secret,
)
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT, ServiceAccount


class TokenMaker(Protocol):
    """Signs tokens; ``apiserver.authentication.issuing.TokenIssuer`` is one."""

    async def issue_legacy(self, account: Key, uid: str, secret: str) -> str:
        """The token of a Secret."""
        ...


def plan_secret(secret: Secret, account: ServiceAccount, ca_pem: str) -> Secret:
    """The Secret with everything that needs no signature; pure."""
    data = {
        **(secret.data or {}),
        "ca.crt": ca_pem.encode(),
        "namespace": secret.metadata.namespace.encode(),
    }
    annotations = {**(secret.metadata.annotations or {}), ACCOUNT_UID: account.metadata.uid}
    return replace(secret, data=data, metadata=replace(secret.metadata, annotations=annotations))


class TokenSecretReconciler:
    """Fills one Secret, or deletes it when its account is gone.

    Args:
        client: for reading accounts anew and for writing.
        secrets, accounts: informers.
        maker: signs.
        ca_pem: the certificate of the API server's CA.
    """

    def __init__(
        self,
        client: Client,
        secrets: Informer[Secret],
        accounts: Informer[ServiceAccount],
        *,
        maker: TokenMaker,
        ca_pem: str,
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._accounts = accounts
        self._maker = maker
        self._ca_pem = ca_pem

    def watch(self, add: Add) -> None:
        """Follow the Secrets of this type and the accounts that come and go."""

        def secret_changed(change: Change[Secret]) -> None:
            if change.subject.type == SERVICE_ACCOUNT_TOKEN:
                add(change.key)

        def account_changed(change: Change[ServiceAccount]) -> None:
            if change.type == "modified":
                return
            for secret in self._secrets.list(change.key.namespace):
                if _account_key(secret) == change.key:
                    add(secret.key)

        self._secrets.add_handler(secret_changed)
        self._accounts.add_handler(account_changed)

    async def reconcile(self, key: Key) -> Result:
        """Fill or delete one Secret."""
        secret = self._secrets.get(key)
        owner = _account_key(secret) if secret is not None else None
        if secret is None or owner is None or secret.deleting:
            return DONE
        account = await self._account(owner)
        wanted_uid = secret.metadata.annotation(ACCOUNT_UID)
        if account is None or wanted_uid not in ("", account.metadata.uid):
            await self._delete(secret)
            return DONE
        filled = plan_secret(secret, account, self._ca_pem)
        if not (filled.data or {}).get("token"):
            token = await self._maker.issue_legacy(owner, account.metadata.uid, key.name)
            filled = replace(filled, data={**(filled.data or {}), "token": token.encode()})
        if filled != secret:
            await self._client.update(SECRET, filled)
        return DONE

    async def _account(self, key: Key) -> ServiceAccount | None:
        """The account; one that the informer has not seen yet is no reason to delete anything."""
        try:
            return self._accounts.get(key) or await self._client.get(SERVICE_ACCOUNT, key)
        except NotFound:
            return None

    async def _delete(self, secret: Secret) -> None:
        try:
            await self._client.delete(SECRET, secret.key, uid=secret.metadata.uid)
        except NotFound:
            return


def _account_key(secret: Secret) -> Key | None:
    name = secret.metadata.annotation(ACCOUNT_NAME)
    if secret.type != SERVICE_ACCOUNT_TOKEN or not name:
        return None
    return Key(secret.metadata.namespace, name)
