"""Secret (``v1``)."""

from collections.abc import Mapping

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource
from knarr.resources.columns import get, text
from knarr.resources.core.configmap import IMMUTABLE_TEXT, data_key_errors
from knarr.resources.fielderrors import IMMUTABLE, forbidden, invalid, required, too_long
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

LIMIT_BYTES = 1024 * 1024
SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 - the name of a type
ACCOUNT_NAME = "kubernetes.io/service-account.name"
"""Annotation of a Secret that is to hold a token: whose."""
ACCOUNT_UID = "kubernetes.io/service-account.uid"
_REQUIRED_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class Secret(Resource, frozen=True, kw_only=True):
    """Confidential bytes (base64 on the wire); ``stringData`` is write-only convenience."""

    data: Mapping[str, bytes] | None = None
    string_data: Mapping[str, str] | None = None
    type: str = ""
    immutable: bool | None = None


def default_secret(secret: Secret, _: Admission) -> Secret:
    """``stringData`` becomes ``data``; the type is Opaque unless given."""
    data = secret.data
    if secret.string_data:
        texts = {key: value.encode() for key, value in secret.string_data.items()}
        data = {**(data or {}), **texts}
    return replace(secret, data=data, string_data=None, type=secret.type or "Opaque")


def validate_secret(secret: Secret, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: keys, size, the keys a type needs, what must not change."""
    data = secret.data or {}
    errors = metadata_errors(secret.metadata)
    errors += data_key_errors("data", data)
    if sum(len(value) for value in data.values()) > LIMIT_BYTES:
        errors.append(too_long("data", LIMIT_BYTES))
    errors += [
        required(f"data[{key}]") for key in _REQUIRED_KEYS.get(secret.type, ()) if key not in data
    ]
    if secret.type == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        errors += [required("data[username]"), required("data[password]")]
    if secret.type == SERVICE_ACCOUNT_TOKEN and not secret.metadata.annotation(ACCOUNT_NAME):
        errors.append(required(f"metadata.annotations[{ACCOUNT_NAME}]"))
    if isinstance(admission.old, Secret):
        errors += _update_errors(admission.old, secret)
    return tuple(errors)


def _update_errors(old: Secret, new: Secret) -> list[FieldError]:
    errors = []
    if old.type != new.type:
        errors.append(invalid("type", new.type, IMMUTABLE))
    if old.immutable:
        if not new.immutable:
            errors.append(forbidden("immutable", IMMUTABLE_TEXT))
        if (old.data or {}) != (new.data or {}):
            errors.append(forbidden("data", IMMUTABLE_TEXT))
    return errors


SECRET: Kind[Secret] = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    singular="secret",
    builtin=True,
    has_status=False,
    model=Secret,
    columns=(
        Column("Type", "string", text("type")),
        Column("Data", "string", lambda doc, _: len(get(doc, "data") or ())),
    ),
    default=default_secret,
    validate=validate_secret,
    selectable={"type": lambda doc: get(doc, "type") or ""},
)
