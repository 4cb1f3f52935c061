"""ConfigMap (``v1``)."""

from collections.abc import Mapping

from knarr.meta.objects import Resource
from knarr.resources.kind import Kind


class ConfigMap(Resource, frozen=True, kw_only=True):
    """Configuration as text (``data``) or bytes (``binaryData``, base64 on the wire)."""

    data: Mapping[str, str] | None = None
    binary_data: Mapping[str, bytes] | None = None
    immutable: bool | None = None


CONFIG_MAP: Kind[ConfigMap] = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short_names=("cm",),
    builtin=True,
    has_status=False,
    model=ConfigMap,
)
