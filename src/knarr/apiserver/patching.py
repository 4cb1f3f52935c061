"""PATCH: from the stored document and a patch to the new document, then the way of an update."""

from typing import Any

import msgspec

from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.jsontext import parse_json
from knarr.apiserver.patches.jsonpatch import json_patch
from knarr.apiserver.patches.merge import merge_patch
from knarr.apiserver.patches.strategic import strategic_merge
from knarr.apiserver.protobuf.wire import WireTables
from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Served
from knarr.apiserver.writing import Writer
from knarr.meta.errors import BadRequest, UnsupportedMediaType

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCHES = frozenset({"application/apply-patch+yaml", "application/apply-patch+cbor"})


class Patcher:
    """Patches objects."""

    def __init__(self, writer: Writer, bodies: BodyReader, tables: WireTables) -> None:
        self._writer = writer
        self._bodies = bodies
        self._tables = tables

    async def patch(self, route: Route, request: ApiRequest) -> ApiResponse:
        """PATCH on an object or on its ``status``."""
        served = route.served
        patch = self.parse(served, request)
        entry, old = self._writer.stored(route)
        document = self.apply(served, request, msgspec.json.decode(entry.data), patch)
        body = self._bodies.convert(document, request, served)
        return await self._writer.replace_subject(
            route, request, entry, old, body.subject, body.warnings
        )

    def parse(self, served: Served, request: ApiRequest) -> Any:
        """The patch itself.

        Raises:
            UnsupportedMediaType: a kind of patch that is not offered for this kind of object.
            BadRequest: malformed.
        """
        media = _media(request)
        if media in APPLY_PATCHES:
            raise UnsupportedMediaType(
                "server-side apply is not offered by this version of Knarr: use client-side apply "
                "(`kubectl apply` without --server-side), a merge patch or a JSON patch"
            )
        offered = [JSON_PATCH, MERGE_PATCH, *([STRATEGIC_PATCH] if served.kind.builtin else [])]
        if media not in offered:
            raise UnsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                + ", ".join(offered)
            )
        return msgspec.json.decode(request.body) if request.trusted else parse_json(request.body)

    def apply(
        self, served: Served, request: ApiRequest, document: dict[str, Any], patch: Any
    ) -> dict[str, Any]:
        """The document after the patch.

        Raises:
            BadRequest, Invalid, TooLarge: the patch does not fit the document.
        """
        result: Any
        match _media(request):
            case "application/json-patch+json":
                result = json_patch(document, patch)
            case "application/merge-patch+json":
                result = merge_patch(document, _object(patch))
            case _:
                kind = served.kind
                table = self._tables.get()
                message = table.message_of(kind.group, kind.version, kind.kind)
                result = strategic_merge(document, _object(patch), table, message)
        if not isinstance(result, dict):
            raise BadRequest("the patch leaves no object")
        return result


def _media(request: ApiRequest) -> str:
    return request.content_type.partition(";")[0].strip().lower()


def _object(patch: Any) -> dict[str, Any]:
    if not isinstance(patch, dict):
        raise BadRequest("the patch must be an object")
    return patch
