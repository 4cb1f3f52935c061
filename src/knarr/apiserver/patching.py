"""PATCH: from the stored document and a patch to the new document, then the way of an update."""

import json
from typing import Any

import msgspec

from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.fieldtracking import FieldTracker
from knarr.apiserver.jsontext import parse_json, parse_yaml
from knarr.apiserver.patches.jsonpatch import json_patch
from knarr.apiserver.patches.merge import merge_patch
from knarr.apiserver.patches.strategic import strategic_merge
from knarr.apiserver.protobuf.wire import WireTables
from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Served
from knarr.apiserver.writing import Writer
from knarr.meta.errors import BadRequest, Cause, Conflict, Invalid, UnsupportedMediaType

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_YAML = "application/apply-patch+yaml"
APPLY_PATCHES = frozenset({APPLY_YAML, "application/apply-patch+cbor"})
_ATTEMPTS = 5


class Patcher:
    """Patches objects."""

    def __init__(
        self, writer: Writer, bodies: BodyReader, tables: WireTables, tracker: FieldTracker
    ) -> None:
        self._writer = writer
        self._tracker = tracker
        self._bodies = bodies
        self._tables = tables

    async def patch(self, route: Route, request: ApiRequest) -> ApiResponse:
        """PATCH on an object or on its ``status``."""
        served = route.served
        if is_apply(request):
            return await self._apply(route, request)
        if request.text("force"):
            raise _misplaced_force()
        patch = self.parse(served, request)
        for attempt in range(_ATTEMPTS):
            entry, old = self._writer.stored(route)
            document = self.apply(
                served, request, msgspec.json.decode(served.shown(entry.data)), patch
            )
            try:
                body = self._bodies.convert(document, request, served)
            except BadRequest as error:
                raise _does_not_fit(request, route.name, error) from None
            try:
                return await self._writer.replace_subject(
                    route, request, entry, old, body.subject, body.warnings
                )
            except Conflict:
                # somebody wrote while a webhook was asked; the patch fits the newer state as well,
                # unless it names a version
                current = self._writer.present(route)
                named = _names_version(patch)
                if current is entry or named or attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _apply(self, route: Route, request: ApiRequest) -> ApiResponse:
        """Server-side apply."""
        served = route.served
        config = self.configuration(route, request)
        entry = self._writer.present(route)
        if entry is None:
            if route.subresource:
                raise served.not_found(route.name)
            _check_absent(served, config)
            result = self._tracker.apply(route, request, None, config)
            body = self._bodies.convert(result.document, request, served)
            collection = Route(served, route.namespace, "", "")
            return await self._writer.create_subject(
                collection, request, body.subject, body.warnings, tracked=True
            )
        live = msgspec.json.decode(served.shown(entry.data))
        result = self._tracker.apply(route, request, live, config)
        body = self._bodies.convert(result.document, request, served)
        old = served.decode(entry.data)
        return await self._writer.replace_subject(
            route, request, entry, old, body.subject, body.warnings, tracked=True
        )

    def configuration(self, route: Route, request: ApiRequest) -> dict[str, Any]:
        """The body of an apply: YAML, of which JSON is a part.

        Raises:
            UnsupportedMediaType: CBOR.
            BadRequest: malformed, or about another object.
        """
        if _media(request) != APPLY_YAML:
            raise UnsupportedMediaType(f"configurations are read as {APPLY_YAML} only")
        config = parse_yaml(request.body)
        if not isinstance(config, dict):
            raise BadRequest("the configuration must be an object")
        metadata = config.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise BadRequest("metadata must be an object")
        name, namespace = metadata.get("name"), metadata.get("namespace")
        if name not in (None, "", route.name):
            raise BadRequest(
                f"the name of the object ({name}) does not match the name on the URL ({route.name})"
            )
        if namespace not in (None, "", route.namespace):
            raise BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["name"] = route.name
        if route.namespace:
            metadata["namespace"] = route.namespace
        return config

    def parse(self, served: Served, request: ApiRequest) -> Any:
        """The patch itself.

        Raises:
            UnsupportedMediaType: a kind of patch that is not offered for this kind of object.
            BadRequest: malformed.
        """
        media = _media(request)
        offered = [JSON_PATCH, MERGE_PATCH, *([STRATEGIC_PATCH] if served.kind.builtin else [])]
        offered.append(APPLY_YAML)
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


def is_apply(request: ApiRequest) -> bool:
    """Whether a PATCH is a server-side apply."""
    return _media(request) in APPLY_PATCHES


def _media(request: ApiRequest) -> str:
    return request.content_type.partition(";")[0].strip().lower()


def _object(patch: Any) -> dict[str, Any]:
    if not isinstance(patch, dict):
        raise BadRequest("the patch must be an object")
    return patch


def _does_not_fit(request: ApiRequest, name: str, error: BadRequest) -> Invalid:
    """A patch that leads to no object of the kind, in Kubernetes' words."""
    reason = error.message.partition(" cannot be handled as a ")[2].partition(": ")[2]
    patch = json.dumps(request.body.decode(errors="replace"), ensure_ascii=False)
    text = f"Invalid value: {patch}: {reason or error.message}"
    return Invalid(
        f' "{name}" is invalid: patch: {text}',
        name=name,
        causes=[Cause(reason="FieldValueInvalid", message=text, field="patch")],
    )


def _names_version(patch: Any) -> bool:
    """Whether a patch holds only for one version of the object."""
    if isinstance(patch, list):
        return any(
            isinstance(step, dict) and step.get("path") == "/metadata/resourceVersion"
            for step in patch
        )
    metadata = patch.get("metadata") if isinstance(patch, dict) else None
    return isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))


def _check_absent(served: Served, config: dict[str, Any]) -> None:
    """A configuration that names an object's uid or version does not make a new object.

    Raises:
        Conflict: it names one.
        NotFound: it names a version.
    """
    metadata = config["metadata"]
    if metadata.get("uid"):
        raise served.conflict(
            metadata["name"],
            f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing "
            f"object was found",
        )
    if metadata.get("resourceVersion"):
        raise served.not_found(metadata["name"])


def _misplaced_force() -> Invalid:
    text = "Forbidden: may not be specified for non-apply patch"
    return Invalid(
        f'PatchOptions.meta.k8s.io "" is invalid: force: {text}',
        kind="PatchOptions",
        group="meta.k8s.io",
        causes=[Cause(reason="FieldValueForbidden", message=text, field="force")],
    )
