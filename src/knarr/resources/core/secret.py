"""Secret (``v1``)."""

from collections.abc import Mapping

from knarr.meta.objects import Resource
from knarr.resources.kind import Kind


class Secret(Resource, frozen=True, kw_only=True):
    """Confidential bytes (base64 on the wire); ``stringData`` is write-only convenience."""

    data: Mapping[str, bytes] | None = None
    string_data: Mapping[str, str] | None = None
    type: str = ""
    immutable: bool | None = None


SECRET: Kind[Secret] = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    singular="secret",
    builtin=True,
    has_status=False,
    model=Secret,
)
