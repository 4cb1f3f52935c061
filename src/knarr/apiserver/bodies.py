"""Request bodies to documents: by content type, strictly, and against the kind that the URL names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from knarr.apiserver.fieldcheck import FieldWalk, Findings, Large, Step
from knarr.apiserver.jsontext import parse_json, parse_yaml
from knarr.apiserver.protobuf.decode import decode_body
from knarr.apiserver.protobuf.wire import WireField, WireTables
from knarr.apiserver.request import ApiRequest
from knarr.apiserver.served import Served
from knarr.apiserver.structural import CrdVersion, text_of, whole_numbers
from knarr.meta.errors import BadRequest, Cause, Invalid, StatusError, UnsupportedMediaType

PROTOBUF = "application/vnd.kubernetes.protobuf"
_JSON_TYPES = frozenset({"", "application/json", "*/*", "application/*"})
_YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
_UNSUPPORTED = "this field is not supported by Knarr: remove it"

# Where a custom kind's model embeds a message of Kubernetes.
_EMBEDDED = {
    "RevisionSpec": "core/v1.PodSpec",
    "PodTemplateSpec": "core/v1.PodTemplateSpec",
    "PodSpec": "core/v1.PodSpec",
    "ObjectMeta": "meta.ObjectMeta",
}
_TYPE_NAMES = {
    "`int`": "an integer",
    "`str`": "a string",
    "`bool`": "a boolean",
    "`object`": "an object",
    "`array`": "an array",
    "`float`": "a number",
    "`null`": "null",
}


@dataclass(slots=True)
class Body:
    """A typed object out of a request, and what to warn about."""

    subject: Any
    warnings: list[str] = field(default_factory=list)


class BodyReader:
    """Decodes and checks bodies."""

    def __init__(self, tables: WireTables) -> None:
        self._tables = tables

    def document(self, request: ApiRequest) -> dict[str, Any]:
        """The body as a JSON object, whatever its encoding; an empty body is an empty object.

        Raises:
            BadRequest: malformed or no object.
            UnsupportedMediaType: the content type is none that is read here.
        """
        media = request.content_type.partition(";")[0].strip().lower()
        value: Any
        if not request.body:
            value = {}
        elif media in _JSON_TYPES:
            value = (
                msgspec.json.decode(request.body) if request.trusted else parse_json(request.body)
            )
        elif media == PROTOBUF:
            decoded = decode_body(self._tables.get(), request.body)
            value = {"apiVersion": decoded.api_version, "kind": decoded.kind} | decoded.document
        elif media in _YAML_TYPES:
            value = parse_yaml(request.body)
        else:
            raise UnsupportedMediaType(
                f"the body of the request was in an unknown format - accepted media types include: "
                f"application/json, application/yaml, {PROTOBUF}"
            )
        if not isinstance(value, dict):
            raise BadRequest("the body must be an object")
        return value

    def read(self, request: ApiRequest, served: Served) -> Body:
        """The body as a typed object of the kind that the URL names.

        Raises:
            BadRequest: malformed, of another kind, or with unknown fields under Strict.
            Invalid: a field that Knarr does not support, or a wrong type in a custom kind.
        """
        plain = request.content_type in ("", "application/json")
        if request.trusted and plain and served.custom is None:
            try:
                return self._named(Body(served.codec.parse(request.body)), served)
            except msgspec.MsgspecError as error:
                raise _type_error(served, "", error) from None
        return self.convert(self.document(request), request, served)

    def convert(self, document: dict[str, Any], request: ApiRequest, served: Served) -> Body:
        """As ``read``, for a document that is decoded already."""
        self._check_kind(document, served)
        warnings: list[str] = []
        if served.custom is not None:
            document, warnings = self._admit_custom(document, request, served, served.custom)
        elif not request.trusted:
            document, warnings = self._prune(document, request, served)
        try:
            subject = served.codec.convert(document)
        except msgspec.ValidationError as error:
            raise _type_error(served, _name_of(document), error) from None
        return self._named(Body(subject, warnings), served)

    @staticmethod
    def _named(body: Body, served: Served) -> Body:
        kind = served.kind
        subject = body.subject
        if not subject.kind or not subject.api_version:
            body.subject = msgspec.structs.replace(
                subject, api_version=kind.api_version, kind=kind.kind
            )
        elif subject.kind != kind.kind or subject.api_version != kind.api_version:
            raise _wrong_kind(subject.api_version, subject.kind, served)
        return body

    @staticmethod
    def _check_kind(document: dict[str, Any], served: Served) -> None:
        api_version, kind = document.get("apiVersion"), document.get("kind")
        wrong_version = api_version and api_version != served.kind.api_version
        if wrong_version or (kind and kind != served.kind.kind):
            raise _wrong_kind(api_version, kind, served)

    def _prune(
        self, document: dict[str, Any], request: ApiRequest, served: Served
    ) -> tuple[dict[str, Any], list[str]]:
        walk = FieldWalk(lambda steps: self._known_to_kubernetes(steps, served))
        pruned = walk.prune(document, served.shape)
        findings = walk.findings
        if findings.unsupported:
            causes = [
                Cause(
                    reason="FieldValueForbidden", message=f"Forbidden: {_UNSUPPORTED}", field=path
                )
                for path in findings.unsupported
            ]
            raise served.invalid(_name_of(document), causes)
        for large in findings.large:
            found = self._wire_field(large.steps, served)
            if found is not None and found.type == "int32":
                raise _does_not_fit(large, served)
        return pruned, _unknown_fields(findings, request, served)

    def _admit_custom(
        self, document: dict[str, Any], request: ApiRequest, served: Served, rules: CrdVersion
    ) -> tuple[dict[str, Any], list[str]]:
        """A custom object's document, pruned and with the defaults of its schema."""
        walk = FieldWalk(lambda _: False)
        metadata = walk.prune({"metadata": document.get("metadata")}, served.shape)
        admitted = rules.admit(whole_numbers({**document, **metadata}))
        if admitted.errors:
            kind = served.kind
            texts = ", ".join(text_of(error) for error in admitted.errors)
            raise BadRequest(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {texts}'
            )
        findings = Findings(unknown=[*walk.findings.unknown, *admitted.unknown])
        return admitted.document, _unknown_fields(findings, request, served)

    def _known_to_kubernetes(self, steps: Sequence[Step], served: Served) -> bool:
        return self._wire_field(steps, served) is not None

    def _wire_field(self, steps: Sequence[Step], served: Served) -> WireField | None:
        """The field of Kubernetes' own messages to which steps lead, if it has one."""
        table = self._tables.get()
        kind = served.kind
        message = table.message_of(kind.group, kind.version, kind.kind) if kind.builtin else None
        found: WireField | None = None
        for struct, name in steps:
            message = message or _EMBEDDED.get(struct)
            found = table.field(message, name) if message else None
            message = found.type if found is not None and found.type in table else None
        return found


def _unknown_fields(findings: Findings, request: ApiRequest, served: Served) -> list[str]:
    mode = request.text("fieldValidation") or "Warn"
    if mode not in ("Strict", "Warn", "Ignore"):
        raise Invalid(
            f'fieldValidation: Unsupported value: "{mode}": supported values: "Ignore", "Strict", "Warn"',
            causes=[Cause(reason="FieldValueNotSupported", message=mode, field="fieldValidation")],
        )
    texts = [f'unknown field "{path}"' for path in findings.unknown]
    if texts and mode == "Strict":
        kind = served.kind
        raise BadRequest(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {', '.join(texts)}"
        )
    return texts if mode == "Warn" else []


def _does_not_fit(large: Large, served: Served) -> BadRequest:
    kind = served.kind
    path = ".".join(name for _, name in large.steps)
    return BadRequest(
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: cannot '
        f"unmarshal number {large.value} into Go struct field {large.steps[-1][0]}.{path} of type int32"
    )


def _wrong_kind(api_version: object, kind: object, served: Served) -> BadRequest:
    expected = served.kind
    if api_version and api_version != expected.api_version:
        return BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({expected.api_version})"
        )
    return BadRequest(
        f'{kind} in version "{expected.version}" cannot be handled as a {expected.kind}: no kind '
        f'"{kind}" is registered for this path'
    )


def _name_of(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _type_error(served: Served, name: str, error: msgspec.MsgspecError) -> StatusError:
    """A type error in Kubernetes' manner: 400 for its own kinds, 422 for custom ones."""
    text, _, path = str(error).rpartition(" - at `$")
    text = text or str(error)
    path = path.rstrip("`").lstrip(".") or "<root>"
    text = text.replace(" | null`", "`")
    for technical, plain in _TYPE_NAMES.items():
        text = text.replace(technical, plain)
    text = text[:1].lower() + text[1:]
    kind = served.kind
    if kind.builtin:
        return BadRequest(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"{path}: {text}"
        )
    cause = Cause(reason="FieldValueTypeInvalid", message=f"Invalid value: {text}", field=path)
    return served.invalid(name, [cause])
