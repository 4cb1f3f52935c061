"""GET of an object and of a collection."""

from typing import Any

import msgspec

from knarr.apiserver.negotiation import Representation, negotiate
from knarr.apiserver.request import ApiRequest, ApiResponse, decode_token, encode_token
from knarr.apiserver.routing import Route
from knarr.apiserver.selection import Selection, select
from knarr.apiserver.served import Served
from knarr.apiserver.tables import parse_include, partial_metadata, table
from knarr.kits.clock import Clock
from knarr.meta.errors import BadRequest, Cause, Expired, Invalid, Timeout
from knarr.meta.objects import Key
from knarr.store.records import Page
from knarr.store.store import Store

_MAX_RV_DIGITS = 18
_POSITION_FORMAT = "meta.k8s.io/v1"


def parse_version(text: str) -> int | None:
    """A resourceVersion parameter: None for "newest", 0 for "any".

    Raises:
        BadRequest: it is no number.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_RV_DIGITS:
        raise BadRequest(f"Invalid value: {text!r}: resource version must be a number")
    return int(text)


class Reader:
    """Answers reads; lists are concatenations of stored bytes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def get(self, route: Route, request: ApiRequest) -> ApiResponse:
        """GET on an object."""
        entry = self._store.get(route.served.collection, route.key)
        if entry is None:
            raise route.served.not_found(route.name)
        return self.item_response(route.served, request, entry.data)

    def item_response(
        self, served: Served, request: ApiRequest, data: bytes, status: int = 200
    ) -> ApiResponse:
        """One stored document in the form that the client wants."""
        data = served.shown(data)
        wanted = negotiate(request.accept)
        if wanted.form == "metadata":
            document = partial_metadata(msgspec.json.decode(data), wanted.version)
            data = msgspec.json.encode(document)
        elif wanted.form == "table":
            version = msgspec.json.decode(data)["metadata"].get("resourceVersion", "")
            data = self._table(served, request, wanted, [data], {"resourceVersion": version})
        return in_format(wanted, data, status)

    async def collection(self, route: Route, request: ApiRequest) -> ApiResponse:
        """GET on a collection."""
        wanted = parse_version(request.text("resourceVersion"))
        if wanted and not request.text("continue"):
            await self._wait_for(route.served.collection, wanted)
        page = self.select(route, request)
        return self.list_response(route.served, request, page.items, page.rv, page)

    async def _wait_for(self, collection: str, rv: int) -> None:
        store = self._store
        if rv > store.assigned_rv:
            raise Timeout(
                f"Timeout: Too large resource version: {rv}, current: {store.assigned_rv}",
                causes=[
                    Cause(reason="ResourceVersionTooLarge", message="Too large resource version")
                ],
                retry_after_s=1,
            )
        if rv > store.visible_rv(collection):
            await store.settle()

    def select(self, route: Route, request: ApiRequest) -> Page:
        """The part of a collection that a request means.

        Raises:
            BadRequest: a parameter is malformed.
            Expired: the version that it asks for is forgotten.
        """
        selection = select(route, request)
        collection = route.served.collection
        limit = request.integer("limit", 0) or 0
        at, start = self._position(request)
        if start is not None and at is not None and at > self._store.assigned_rv:
            raise _ExpiredContinue(self._store.visible_rv(collection), start)
        if selection.never:
            return Page(self._store.visible_rv(collection), [])
        if selection.name is not None:
            return self._single(collection, selection, at)
        try:
            return self._store.page(
                collection,
                at=at,
                namespace=selection.namespace,
                start=start,
                limit=limit,
                accept=selection.accept,
            )
        except Expired as error:
            if start is None:
                raise
            raise _ExpiredContinue(self._store.visible_rv(collection), start) from error

    def _single(self, collection: str, selection: Selection, at: int | None) -> Page:
        """The one object that ``metadata.name=`` names; in all namespaces unless one is given."""
        name = selection.name or ""
        if selection.namespace and at is None:
            visible = self._store.visible_rv(collection)
            entry = self._store.get(collection, Key(selection.namespace, name))
            kept = entry is not None and (selection.accept is None or selection.accept(entry.data))
            return Page(visible, [entry.data] if entry is not None and kept else [])
        needle = b'"name":' + msgspec.json.encode(name)
        accept = selection.accept

        def matches(data: bytes) -> bool:
            if needle not in data or msgspec.json.decode(data)["metadata"].get("name") != name:
                return False
            return accept is None or accept(data)

        return self._store.page(collection, at=at, namespace=selection.namespace, accept=matches)

    def _position(self, request: ApiRequest) -> tuple[int | None, Key | None]:
        """The version that is asked for exactly, and where a continued list goes on."""
        token, version = request.text("continue"), request.text("resourceVersion")
        match = request.text("resourceVersionMatch")
        if token:
            if version and version != "0":
                raise BadRequest("specifying resource version is not allowed when using continue")
            position = decode_token(token)
            try:
                known = position["v"] == _POSITION_FORMAT
                at, start = parse_version(str(position["rv"])), position["start"]
                if known and at:
                    return at, Key(*start.split("/", 1))
            except (KeyError, TypeError, ValueError, AttributeError):
                pass
            raise BadRequest("continue key is not valid: it was not made by this server")
        if match not in ("", "Exact", "NotOlderThan"):
            raise _invalid_match(f'Unsupported value: "{match}"')
        if match and not version:
            raise _invalid_match("Forbidden: is forbidden unless resourceVersion is provided")
        if match == "Exact":
            if version == "0":
                raise _invalid_match('Forbidden: "Exact" is forbidden for resourceVersion "0"')
            return parse_version(version), None
        parse_version(version)
        return None, None

    def list_response(
        self,
        served: Served,
        request: ApiRequest,
        items: list[bytes],
        rv: int,
        page: Page | None = None,
    ) -> ApiResponse:
        """A List of stored documents in the form that the client wants."""
        if served.present is not None:
            items = [served.present(item) for item in items]
        wanted = negotiate(request.accept)
        metadata: dict[str, Any] = {"resourceVersion": str(rv)}
        if not served.kind.builtin and wanted.form == "object":
            # lists of custom objects always say so
            metadata["continue"] = ""
        if page is not None and page.next_key is not None:
            metadata["continue"] = _continue_token(rv, page.next_key)
            if page.remaining is not None:
                metadata["remainingItemCount"] = page.remaining
        if wanted.form == "table":
            return ApiResponse(200, self._table(served, request, wanted, items, metadata))
        api_version, kind = served.kind.api_version, served.kind.listed
        if wanted.form == "metadata":
            api_version, kind = f"meta.k8s.io/{wanted.version}", "PartialObjectMetadataList"
            items = [
                msgspec.json.encode(partial_metadata(msgspec.json.decode(item), wanted.version))
                for item in items
            ]
        else:
            items = _untyped(served, items)
        head = msgspec.json.encode(
            {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": []}
        )
        body = b"".join((head[:-2], b",".join(items), b"]}"))
        return in_format(wanted, body, 200)

    def _table(
        self,
        served: Served,
        request: ApiRequest,
        wanted: Representation,
        items: list[bytes],
        metadata: dict[str, Any],
    ) -> bytes:
        include = parse_include(request.text("includeObject"))
        now = self._clock.wall().timestamp()
        return msgspec.json.encode(table(served, items, metadata, include, wanted.version, now))


def _untyped(served: Served, items: list[bytes]) -> list[bytes]:
    """The items of a List of one of Kubernetes' own kinds do not repeat what the List says."""
    kind = served.kind
    if not kind.builtin:
        return items
    named = msgspec.json.encode({"apiVersion": kind.api_version, "kind": kind.kind})
    head = named[:-1] + b","
    size = len(head)
    return [b"{" + item[size:] if item.startswith(head) else item for item in items]


class _ExpiredContinue(Expired):
    """A continue token whose version is forgotten; carries one that goes on at the newest."""

    def __init__(self, rv: int, start: Key) -> None:
        super().__init__(
            "The provided continue parameter is too old to display a consistent list result. You can "
            "start a new list without the continue parameter, or use the continue token in this "
            "response to retrieve the remainder of the results, which are then inconsistent."
        )
        self.token = _continue_token(rv, start)


def continue_of(error: Exception) -> str:
    """The fresh token of an expired one, empty for other errors."""
    return error.token if isinstance(error, _ExpiredContinue) else ""


def _continue_token(rv: int, start: Key) -> str:
    return encode_token(
        {"v": _POSITION_FORMAT, "rv": rv, "start": f"{start.namespace}/{start.name}"}
    )


def _invalid_match(message: str) -> Invalid:
    return Invalid(
        f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: {message}',
        kind="ListOptions",
        group="meta.k8s.io",
        causes=[Cause(reason="FieldValueForbidden", message=message, field="resourceVersionMatch")],
    )


def in_format(wanted: Representation, data: bytes, status: int) -> ApiResponse:
    """A JSON document as JSON or YAML."""
    if not wanted.yaml:
        return ApiResponse(status, data)
    import yaml

    text = yaml.safe_dump(msgspec.json.decode(data), sort_keys=False, allow_unicode=True)
    return ApiResponse(status, text.encode(), "application/yaml")
