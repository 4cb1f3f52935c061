"""``POST serviceaccounts/<name>/token``: tokens on request (``authentication.k8s.io/v1`` TokenRequest)."""

from typing import Any

import msgspec

from knarr.apiserver.authentication.claims import ISSUER, UNBOUND, Bound, Reference
from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authentication.issuing import DEFAULT_EXPIRATION_S
from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.request import ApiRequest, ApiResponse, json_response
from knarr.apiserver.routing import Route
from knarr.apiserver.virtual import invalid_virtual, read_virtual
from knarr.kits.clock import Clock, format_timestamp
from knarr.meta.errors import BadRequest, Conflict, NotFound
from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Key, Resource, Struct
from knarr.resources.fielderrors import invalid
from knarr.store.store import Store

API_VERSION = "authentication.k8s.io/v1"
KIND = "TokenRequest"
_GROUP = "authentication.k8s.io"
_SHORTEST_S = 600
_LONGEST_S = 1 << 32
_COLLECTIONS = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


class BoundObjectReference(Struct, frozen=True, kw_only=True):
    """What the token is to end with."""

    kind: str = ""
    api_version: str = ""
    name: str = ""
    uid: str = ""


class TokenRequestSpec(Struct, frozen=True, kw_only=True):
    """What is asked for."""

    audiences: tuple[str, ...] = ()
    expiration_seconds: int | None = None
    bound_object_ref: BoundObjectReference | None = None


class TokenRequest(Resource, frozen=True, kw_only=True):
    """A question that is answered with a token."""

    spec: TokenRequestSpec = TokenRequestSpec()
    status: dict[str, Any] | None = None


class _PodDocument(msgspec.Struct, frozen=True, rename="camel"):
    class Spec(msgspec.Struct, frozen=True, rename="camel"):
        service_account_name: str = ""
        node_name: str = ""

    spec: Spec = Spec()


class TokenRequests:
    """Answers TokenRequests.

    Args:
        store: for the accounts and what tokens are bound to.
        bodies: reads requests.
        credentials: makes the tokens.
        clock: for the answer's timestamp.
    """

    def __init__(
        self, store: Store, bodies: BodyReader, credentials: Credentials, clock: Clock
    ) -> None:
        self._store = store
        self._bodies = bodies
        self._credentials = credentials
        self._clock = clock

    async def create(self, route: Route, request: ApiRequest) -> ApiResponse:
        """Make a token for the ServiceAccount that the route names.

        Raises:
            NotFound: the account or the bound object does not exist.
            Invalid, BadRequest, Conflict: the request contradicts itself or the objects.
            Unavailable: there is no key to sign with.
        """
        sent = read_virtual(self._bodies.document(request), TokenRequest, API_VERSION, KIND)
        entry = self._store.newest("serviceaccounts", route.key)
        if entry is None:
            raise route.served.not_found(route.name)
        expires_s = self._check(sent, route.key, entry.uid)
        spec = sent.spec
        bound = self._bound(spec.bound_object_ref, route.key)
        audiences = spec.audiences or (ISSUER,)
        document: dict[str, Any] = {
            "kind": KIND,
            "apiVersion": API_VERSION,
            "metadata": {
                "name": route.name,
                "namespace": route.namespace,
                "uid": entry.uid,
                "creationTimestamp": format_timestamp(self._clock.wall()),
            },
            "spec": {
                "audiences": list(audiences),
                "expirationSeconds": expires_s,
                "boundObjectRef": msgspec.to_builtins(spec.bound_object_ref),
            },
            "status": {"token": "", "expirationTimestamp": None},
        }
        if not request.dry_run:
            issued = await self._credentials.issuer.issue(
                route.key, entry.uid, expires_s=expires_s, audiences=audiences, bound=bound
            )
            document["status"] = {
                "token": issued.token,
                "expirationTimestamp": format_timestamp(issued.expires),
            }
        return json_response(document, 201)

    @staticmethod
    def _check(sent: TokenRequest, key: Key, uid: str) -> int:
        """The seconds that the token is to be good for."""
        metadata = sent.metadata
        errors: list[FieldError] = []
        if metadata.name not in ("", key.name):
            detail = "must match the service account name if specified"
            errors.append(invalid("metadata.name", metadata.name, detail))
        if metadata.namespace not in ("", key.namespace):
            detail = "must match the service account namespace if specified"
            errors.append(invalid("metadata.namespace", metadata.namespace, detail))
        if errors:
            raise invalid_virtual(_GROUP, KIND, key.name, errors)
        wanted = sent.spec.expiration_seconds
        expires_s = DEFAULT_EXPIRATION_S if wanted is None else wanted
        path = "spec.expirationSeconds"
        if expires_s < _SHORTEST_S:
            errors.append(
                invalid(path, expires_s, "may not specify a duration less than 10 minutes")
            )
        if expires_s > _LONGEST_S:
            errors.append(
                invalid(path, expires_s, "may not specify a duration larger than 2^32 seconds")
            )
        if errors:
            raise invalid_virtual(_GROUP, KIND, "", errors)
        if metadata.uid not in ("", uid):
            raise Conflict(
                f'Operation cannot be fulfilled on {KIND}.{_GROUP} "{key.name}": the UID in the token '
                f"request ({metadata.uid}) does not match the UID of the service account ({uid})",
                group=_GROUP,
                kind=KIND,
                name=key.name,
            )
        return expires_s

    def _bound(self, reference: BoundObjectReference | None, account: Key) -> Bound:
        if reference is None:
            return UNBOUND
        collection = _COLLECTIONS.get(reference.kind)
        group, _, version = reference.api_version.rpartition("/")
        if collection is None or reference.api_version not in ("", "v1"):
            raise BadRequest(
                f"cannot bind token to object of type {group}/{version}, Kind={reference.kind}"
            )
        namespace = "" if collection == "nodes" else account.namespace
        entry = self._store.newest(collection, Key(namespace, reference.name))
        if entry is None:
            raise NotFound(
                f'{collection} "{reference.name}" not found', kind=collection, name=reference.name
            )
        if reference.uid not in ("", entry.uid):
            raise Conflict(
                f'Operation cannot be fulfilled on {reference.kind} "{reference.name}": the UID in the '
                f"bound object reference ({reference.uid}) does not match the UID in record. The object "
                f"might have been deleted and then recreated",
                kind=reference.kind,
                name=reference.name,
            )
        found = Reference(reference.name, entry.uid)
        if collection == "pods":
            return Bound(pod=found, node=self._node_of(entry.data, account))
        return Bound(secret=found) if collection == "secrets" else Bound(node=found)

    def _node_of(self, pod: bytes, account: Key) -> Reference | None:
        """The node of a Pod, which must run as the account."""
        spec = msgspec.json.decode(pod, type=_PodDocument).spec
        if (spec.service_account_name or "default") != account.name:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{account.name}" to pod running with different '
                f"serviceaccount name."
            )
        if not spec.node_name:
            return None
        node = self._store.newest("nodes", Key("", spec.node_name))
        return Reference(spec.node_name, node.uid if node else "")
