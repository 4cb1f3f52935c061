"""The ``scale`` subresource: ``autoscaling/v1`` Scale in front of ``spec.replicas``."""

from typing import Any

import msgspec

from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.customobjects import CustomObject
from knarr.apiserver.fieldmanagement import (
    decode_managers,
    encode_managers,
    managers_of_parent,
    managers_of_scale,
    with_managers,
)
from knarr.apiserver.fieldtracking import SCALE_VERSION, FieldTracker
from knarr.apiserver.objectmeta import check_name
from knarr.apiserver.patching import Patcher, is_apply
from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.apiserver.routing import Route
from knarr.apiserver.served import ENCODER, Served
from knarr.apiserver.structural import ScalePaths, written
from knarr.apiserver.writing import Writer
from knarr.meta.errors import BadRequest, Cause, Invalid, StatusError
from knarr.meta.objects import ObjectMeta, Resource, Struct
from knarr.resources.columns import NONE, format_selector

replace = msgspec.structs.replace


class ScaleSpec(Struct, frozen=True, kw_only=True):
    """How many replicas are wanted."""

    replicas: int = 0


class ScaleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are, and which they are."""

    replicas: int = 0
    selector: str | msgspec.UnsetType = msgspec.UNSET


class Scale(Resource, frozen=True, kw_only=True):
    """``autoscaling/v1`` Scale."""

    spec: ScaleSpec = ScaleSpec()
    status: ScaleStatus | None = None


def scale_of(served: Served, subject: Any) -> Scale:
    """The Scale of an object of a kind that has one.

    Raises:
        StatusError: a custom object's fields do not hold what its definition says.
    """
    metadata = subject.metadata
    wanted, present, selector = (
        _custom_figures(served.custom.scale, subject)
        if served.custom is not None and served.custom.scale is not None
        else _figures(subject)
    )
    return Scale(
        api_version=SCALE_VERSION,
        kind="Scale",
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
            creation_timestamp=metadata.creation_timestamp,
        ),
        spec=ScaleSpec(replicas=wanted),
        status=ScaleStatus(replicas=present, selector=selector or msgspec.UNSET),
    )


def _figures(subject: Any) -> tuple[int, int, str]:
    spec, status = subject.spec, subject.status
    wanted = spec.replicas if spec is not None and spec.replicas is not None else 1
    text = format_selector(msgspec.to_builtins(spec.selector) if spec is not None else None)
    selector = "" if text == NONE else text
    return wanted, (status.replicas or 0) if status is not None else 0, selector


def _custom_figures(paths: ScalePaths, subject: CustomObject) -> tuple[int, int, str]:
    try:
        content = subject.content
        return paths.replicas(content), paths.current(content), paths.selector(content)
    except TypeError as error:
        raise StatusError(str(error)) from None


def with_replicas(served: Served, subject: Any, replicas: int) -> Any:
    """The object with another number of wanted replicas."""
    if served.custom is not None and served.custom.scale is not None:
        content = written(subject.content, served.custom.scale.spec_replicas, replicas)
        return replace(subject, content=content)
    return replace(subject, spec=replace(subject.spec, replicas=replicas))


def _replica_path(served: Served) -> str:
    if served.custom is not None and served.custom.scale is not None:
        return served.custom.scale.spec_replicas.removeprefix(".")
    return "spec.replicas"


class Scaler:
    """Reads and writes the scale of objects."""

    def __init__(
        self, writer: Writer, patcher: Patcher, bodies: BodyReader, tracker: FieldTracker
    ) -> None:
        self._writer = writer
        self._patcher = patcher
        self._bodies = bodies
        self._tracker = tracker

    async def get(self, route: Route, _request: ApiRequest) -> ApiResponse:
        """GET on ``scale``."""
        _, subject = self._writer.stored(route)
        return ApiResponse(200, ENCODER.encode(scale_of(route.served, subject)))

    async def update(self, route: Route, request: ApiRequest) -> ApiResponse:
        """PUT on ``scale``."""
        return await self._write(route, request, self._bodies.document(request))

    async def patch(self, route: Route, request: ApiRequest) -> ApiResponse:
        """PATCH on ``scale``; the patch applies to the Scale, not to the object."""
        served = route.served
        _, subject = self._writer.stored(route)
        present = _scale_document(served, subject)
        if is_apply(request):
            return await self._apply(route, request, subject, present)
        patch = self._patcher.parse(served, request)
        return await self._write(
            route, request, self._patcher.apply(served, request, present, patch)
        )

    async def _apply(
        self, route: Route, request: ApiRequest, subject: Any, present: dict[str, Any]
    ) -> ApiResponse:
        """Server-side apply of a Scale: of the object, its applier owns the replicas."""
        config = self._patcher.configuration(route, request)
        version = route.served.kind.api_version
        paths = {version: _replica_path(route.served)}
        entries = list(subject.metadata.managed_fields or ())
        parent = decode_managers(entries)
        live = with_managers(present, managers_of_scale(parent, paths))
        result = self._tracker.apply_scale(request, live, config)
        after = managers_of_parent(parent, result.managers, paths, version)
        return await self._write(route, request, result.document, encode_managers(after))

    async def _write(
        self,
        route: Route,
        request: ApiRequest,
        document: dict[str, Any],
        entries: list[dict[str, Any]] | None = None,
    ) -> ApiResponse:
        """Store the replicas of a Scale; ``entries`` are the object's managedFields after an apply."""
        served = route.served
        sent = _parse_scale(document)
        check_name(sent.metadata, route.name)
        if served.custom is None:
            # a definition's schema says itself how many there may be
            _check_replicas(sent, route.name)
        entry, old = self._writer.stored(route)
        metadata = replace(
            old.metadata,
            resource_version=sent.metadata.resource_version,
            uid=sent.metadata.uid,
        )
        if entries is not None:
            metadata = replace(metadata, managed_fields=tuple(entries))
        wanted = replace(with_replicas(served, old, sent.spec.replicas), metadata=metadata)
        response = await self._writer.replace_subject(
            route, request, entry, old, wanted, [], tracked=entries is not None
        )
        after = served.codec.parse(response.body)
        return ApiResponse(200, ENCODER.encode(scale_of(served, after)), headers=response.headers)


def _scale_document(served: Served, subject: Any) -> dict[str, Any]:
    """The Scale that patches apply to; zero replicas can be replaced too."""
    scale = scale_of(served, subject)
    document: dict[str, Any] = msgspec.json.decode(ENCODER.encode(scale))
    return document | {"spec": {"replicas": scale.spec.replicas}}


def _parse_scale(document: dict[str, Any]) -> Scale:
    if document.get("kind") not in (None, "", "Scale"):
        raise BadRequest(f"{document['kind']} cannot be handled as a Scale")
    try:
        return msgspec.convert(document, Scale)
    except msgspec.ValidationError as error:
        raise BadRequest(f'Scale in version "v1" cannot be handled as a Scale: {error}') from None


def _check_replicas(sent: Scale, name: str) -> None:
    if sent.spec.replicas < 0:
        text = f"Invalid value: {sent.spec.replicas}: must be greater than or equal to 0"
        raise Invalid(
            f'Scale.autoscaling "{name}" is invalid: spec.replicas: {text}',
            group="autoscaling",
            kind="Scale",
            name=name,
            causes=[Cause(reason="FieldValueInvalid", message=text, field="spec.replicas")],
        )
