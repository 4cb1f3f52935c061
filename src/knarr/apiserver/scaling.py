"""The ``scale`` subresource: ``autoscaling/v1`` Scale in front of ``spec.replicas``."""

from typing import Any

import msgspec

from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.patching import Patcher
from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.apiserver.routing import Route
from knarr.apiserver.served import ENCODER
from knarr.apiserver.writing import Writer
from knarr.meta.errors import BadRequest, Cause, Invalid
from knarr.meta.objects import ObjectMeta, Resource, Struct

replace = msgspec.structs.replace


class ScaleSpec(Struct, frozen=True, kw_only=True):
    """How many replicas are wanted."""

    replicas: int = 0


class ScaleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are, and which they are."""

    replicas: int = 0
    selector: str = ""


class Scale(Resource, frozen=True, kw_only=True):
    """``autoscaling/v1`` Scale."""

    spec: ScaleSpec = ScaleSpec()
    status: ScaleStatus | None = None


def scale_of(subject: Any) -> Scale:
    """The Scale of an object with ``spec.replicas`` and ``status.replicas``."""
    metadata = subject.metadata
    spec, status = subject.spec, subject.status
    wanted = spec.replicas if spec is not None and spec.replicas is not None else 1
    selector = spec.selector.match_labels if spec is not None and spec.selector else None
    return Scale(
        api_version="autoscaling/v1",
        kind="Scale",
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
            creation_timestamp=metadata.creation_timestamp,
        ),
        spec=ScaleSpec(replicas=wanted),
        status=ScaleStatus(
            replicas=(status.replicas or 0) if status is not None else 0,
            selector=",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())),
        ),
    )


class Scaler:
    """Reads and writes the scale of objects."""

    def __init__(self, writer: Writer, patcher: Patcher, bodies: BodyReader) -> None:
        self._writer = writer
        self._patcher = patcher
        self._bodies = bodies

    async def get(self, route: Route, _request: ApiRequest) -> ApiResponse:
        """GET on ``scale``."""
        _, subject = self._writer.stored(route)
        return ApiResponse(200, ENCODER.encode(scale_of(subject)))

    async def update(self, route: Route, request: ApiRequest) -> ApiResponse:
        """PUT on ``scale``."""
        return await self._write(route, request, self._bodies.document(request))

    async def patch(self, route: Route, request: ApiRequest) -> ApiResponse:
        """PATCH on ``scale``; the patch applies to the Scale, not to the object."""
        served = route.served
        patch = self._patcher.parse(served, request)
        _, subject = self._writer.stored(route)
        present = msgspec.json.decode(ENCODER.encode(scale_of(subject)))
        document = self._patcher.apply(served, request, present, patch)
        return await self._write(route, request, document)

    async def _write(
        self, route: Route, request: ApiRequest, document: dict[str, Any]
    ) -> ApiResponse:
        if document.get("kind") not in (None, "", "Scale"):
            raise BadRequest(f"{document['kind']} cannot be handled as a Scale")
        try:
            sent = msgspec.convert(document, Scale)
        except msgspec.ValidationError as error:
            raise BadRequest(
                f'Scale in version "v1" cannot be handled as a Scale: {error}'
            ) from None
        if sent.spec.replicas < 0:
            text = f"Invalid value: {sent.spec.replicas}: must be greater than or equal to 0"
            raise Invalid(
                f'Scale.autoscaling "{route.name}" is invalid: spec.replicas: {text}',
                group="autoscaling",
                kind="Scale",
                name=route.name,
                causes=[Cause(reason="FieldValueInvalid", message=text, field="spec.replicas")],
            )
        entry, old = self._writer.stored(route)
        metadata = replace(
            old.metadata,
            resource_version=sent.metadata.resource_version,
            uid=sent.metadata.uid,
        )
        wanted = replace(
            old, metadata=metadata, spec=replace(old.spec, replicas=sent.spec.replicas)
        )
        main = Route(route.served, route.namespace, route.name, "")
        response = await self._writer.replace_subject(main, request, entry, old, wanted, [])
        written = route.served.decode(response.body)
        return ApiResponse(200, ENCODER.encode(scale_of(written)), headers=response.headers)
