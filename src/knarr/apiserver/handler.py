"""The API: one request in, one response out, independent of any HTTP library."""

import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from knarr.apiserver.admission import Admissions
from knarr.apiserver.allocation import DEFAULT_SERVICE_CIDR, ServiceAllocator
from knarr.apiserver.auth import is_open
from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authentication.names import MASTERS
from knarr.apiserver.authentication.tokenrequests import TokenRequests
from knarr.apiserver.authorization.attributes import attributes_of
from knarr.apiserver.authorization.authorizer import Authorizer
from knarr.apiserver.authorization.guard import WriteGuard
from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.definitions.rules import DefinitionRules
from knarr.apiserver.deleting import Deleter
from knarr.apiserver.discovery import Discovery
from knarr.apiserver.fieldtracking import FieldTracker
from knarr.apiserver.openapi import OpenApi, Schema, version_2
from knarr.apiserver.openid import answer_openid
from knarr.apiserver.patching import Patcher
from knarr.apiserver.podidentity import PodIdentities
from knarr.apiserver.podlogs import LogReader, PodLogs
from knarr.apiserver.podverbs import PodVerbs
from knarr.apiserver.protobuf.wire import WireTables
from knarr.apiserver.quota import ClaimLimiter, PodLimiter, PriorityResolver, QuotaChecker
from knarr.apiserver.reading import Reader, continue_of
from knarr.apiserver.request import (
    ApiRequest,
    ApiResponse,
    error_response,
    text_response,
    warning_header,
)
from knarr.apiserver.reviews import REVIEW_GROUPS, Reviews
from knarr.apiserver.routing import (
    NoSuchCoreResource,
    NoSuchPath,
    Route,
    find_route,
    split_path,
)
from knarr.apiserver.scaling import Scaler
from knarr.apiserver.served import Registry
from knarr.apiserver.settling import settled
from knarr.apiserver.streams.node import PodStreams
from knarr.apiserver.streams.pods import PodSessions
from knarr.apiserver.watching import Watching
from knarr.apiserver.webhooks import Caller, ConditionRules, WebhookAdmission, Webhooks
from knarr.apiserver.writing import Writer
from knarr.kits.clock import Clock
from knarr.meta.errors import NotFound, StatusError, status_body
from knarr.resources.admissionregistration.configuration import (
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_WEBHOOK_CONFIGURATION,
)
from knarr.resources.kind import Kind
from knarr.store.store import Store

_log = logging.getLogger(__name__)
Verb = Callable[[Route, ApiRequest], Awaitable[ApiResponse]]
NOT_FOUND_PAGE = text_response("404 page not found\n", 404)


class Handler:
    """Answers API requests over a store.

    Args:
        store: entered.
        kinds: what is served.
        clock: for timestamps.
        rng: for uids, generated names and watch timeouts.
        logs: where Pod logs are; without it they are refused.
        streams: where sessions with Pods are opened; without it they are refused.
        schema: OpenAPI schemas of the kinds; without it they are opaque objects.
        service_cidr: IPv4 network of the Services' cluster IPs.
        credentials: verifies and makes tokens; without it service accounts get none.
        webhooks: sends admission reviews; without it nobody is asked.

    Attributes:
        authorizer: who may do what; also for what stands before this handler.
    """

    def __init__(  # noqa: PLR0913 - what a server is made from
        self,
        store: Store,
        kinds: Sequence[Kind[Any]],
        clock: Clock,
        rng: random.Random,
        *,
        logs: PodLogs | None = None,
        streams: PodStreams | None = None,
        schema: Schema | None = None,
        service_cidr: str = DEFAULT_SERVICE_CIDR,
        credentials: Credentials | None = None,
        webhooks: Caller | None = None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        tables = WireTables()
        bodies = BodyReader(tables)
        services = ServiceAllocator(store, rng, cidr=service_cidr)
        definitions = DefinitionRules(kinds)
        self.registry = Registry(kinds)
        hooks = None
        if webhooks is not None:
            others = self.registry.other_versions
            hooks = WebhookAdmission(Webhooks(store, webhooks, rng, others))
        conditions = ConditionRules()
        self.authorizer = Authorizer(store)
        self._credentials = credentials or Credentials(store, clock, rng)
        admissions = Admissions(
            store,
            clock,
            {
                "services": (services,),
                definitions.collection: (definitions,),
                MUTATING_WEBHOOK_CONFIGURATION.qualified_plural: (conditions,),
                VALIDATING_WEBHOOK_CONFIGURATION.qualified_plural: (conditions,),
                "pods": (PodIdentities(store, rng), PriorityResolver(store), PodLimiter(store)),
                "persistentvolumeclaims": (ClaimLimiter(store),),
            },
            hooks=hooks,
            quota=QuotaChecker(store),
            guard=WriteGuard(self.authorizer),
        )
        schema = schema or _opaque
        tracker = FieldTracker(tables, schema, clock)
        self._reader = Reader(store, clock)
        self._writer = Writer(store, bodies, admissions, tracker, rng)
        self._watching = Watching(store, clock, rng)
        self._deleter = Deleter(
            store, bodies, self._reader, clock, {definitions.collection: definitions}, hooks
        )
        self._patcher = Patcher(self._writer, bodies, tables, tracker)
        self._scaler = Scaler(self._writer, self._patcher, bodies, tracker)
        self._pods = PodVerbs(store, self.registry, self._writer, self._deleter, bodies, clock)
        self._logs = LogReader(store, logs) if logs is not None else None
        self._sessions = PodSessions(store, streams) if streams is not None else None
        self._discovery = Discovery(self.registry, ready)
        self._openapi = OpenApi(self.registry, schema)
        self._reviews = Reviews(bodies, self.authorizer, self._credentials, clock)
        self._tokens = TokenRequests(store, bodies, self._credentials, clock)
        self._rng = rng
        self._verbs = settled(store, self._table())

    def _table(self) -> dict[tuple[str, str], Verb]:
        """What to call, by method and place (collection, object or a subresource's name)."""
        table: dict[tuple[str, str], Verb] = {
            ("GET", "collection"): self._list_or_watch,
            ("POST", "collection"): self._writer.create,
            ("DELETE", "collection"): self._deleter.delete_collection,
            ("GET", "object"): self._get,
            ("PUT", "object"): self._writer.update,
            ("PATCH", "object"): self._patcher.patch,
            ("DELETE", "object"): self._deleter.delete,
            ("GET", "status"): self._get,
            ("PUT", "status"): self._writer.update,
            ("PATCH", "status"): self._patcher.patch,
            ("GET", "scale"): self._scaler.get,
            ("PUT", "scale"): self._scaler.update,
            ("PATCH", "scale"): self._scaler.patch,
            ("PUT", "finalize"): self._writer.update,
            ("POST", "eviction"): self._pods.evict,
            ("POST", "binding"): self._pods.bind,
            ("POST", "token"): self._tokens.create,
        }
        if self._logs is not None:
            table["GET", "log"] = self._logs.get
        if self._sessions is not None:
            for method in ("GET", "POST"):
                table[method, "exec"] = self._sessions.exec
                table[method, "attach"] = self._sessions.attach
                table[method, "portforward"] = self._sessions.portforward
            for method in ("GET", "PUT", "PATCH"):
                table[method, "ephemeralcontainers"] = self._sessions.ephemeral
        return table

    async def _get(self, route: Route, request: ApiRequest) -> ApiResponse:
        return self._reader.get(route, request)

    async def _list_or_watch(self, route: Route, request: ApiRequest) -> ApiResponse:
        if request.flag("watch"):
            return await self._watching.watch(route, request)
        return await self._reader.collection(route, request)

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer a request; every failure becomes a Status."""
        try:
            return await self.dispatch(request)
        except NoSuchPath:
            return NOT_FOUND_PAGE
        except StatusError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - the edge of the server
            incident = uuid.UUID(int=self._rng.getrandbits(128), version=4)
            _log.error("%s %s failed (%s)", request.method, request.path, incident, exc_info=error)
            return error_response(StatusError(f"internal error {incident}, see the server's log"))

    async def dispatch(self, request: ApiRequest) -> ApiResponse:
        """Answer a request.

        Raises:
            StatusError: the request is refused.
            NoSuchPath: nothing is served there.
        """
        segments = split_path(request.path)
        if MASTERS not in request.user.groups and not is_open(request.path):
            self.authorizer.check(request.user, attributes_of(request, segments))
        other = self._other_than_objects(segments, request)
        if other is not None:
            return other
        if len(segments) < 3 or segments[0] not in ("api", "apis"):
            raise NoSuchPath
        if segments[0] == "apis" and len(segments) < 4:
            raise NoSuchPath
        try:
            route = find_route(self.registry, segments)
        except NoSuchCoreResource:
            raise NotFound("the server could not find the requested resource") from None
        response = await self._verb(route, request)(route, request)
        if not route.served.deprecation:
            return response
        warning = warning_header(route.served.deprecation)
        return replace(response, headers=(*response.headers, warning))

    def _other_than_objects(self, segments: list[str], request: ApiRequest) -> ApiResponse | None:
        if segments == ["openapi", "v2"]:
            return version_2(request)
        if segments[:2] == ["openapi", "v3"]:
            return self._openapi.answer(segments, request)
        if len(segments) > 3 and segments[1] in REVIEW_GROUPS:
            return self._reviews.answer(segments, request)
        if len(segments) > 4 or (len(segments) > 2 and segments[0] == "api"):
            return None
        if request.method not in ("GET", "HEAD"):
            return None
        openid = answer_openid(segments, self._credentials)
        return openid or self._discovery.answer(segments, request)

    def _verb(self, route: Route, request: ApiRequest) -> Verb:
        place = route.subresource or ("object" if route.name else "collection")
        verb = self._verbs.get((request.method, place))
        if verb is not None and self._offers(route, place):
            if place == "collection" and _without_namespace(route, request.method):
                raise route.served.method_not_allowed()
            return verb
        if any(known == place for _, known in self._verbs) and self._offers(route, place):
            raise route.served.method_not_allowed()
        if route.served.custom is not None and route.name:
            raise route.served.not_found(route.name)
        raise NotFound("the server could not find the requested resource")

    def _offers(self, route: Route, place: str) -> bool:
        match place:
            case "status":
                return route.served.stores_status
            case "scale":
                return route.served.kind.has_scale
            case "finalize":
                return route.served.collection == "namespaces"
            case "log" | "eviction" | "binding":
                return route.served.collection == "pods"
            case "token":
                return route.served.collection == "serviceaccounts"
            case _:
                return True


def _without_namespace(route: Route, method: str) -> bool:
    """Whether a write means all namespaces at once, or the Namespaces themselves."""
    if method == "GET" or route.namespace:
        return False
    served = route.served
    return served.kind.namespaced or (method == "DELETE" and served.collection == "namespaces")


def _opaque(_kind: Kind[Any]) -> dict[str, Any]:
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _refusal(error: StatusError) -> ApiResponse:
    token = continue_of(error)
    if not token:
        return error_response(error)
    body = status_body(error) | {"metadata": {"continue": token}}
    return ApiResponse(error.code, msgspec.json.encode(body))
