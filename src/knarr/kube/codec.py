"""Documents to typed objects and back; the one place in ``kube`` that knows how they are encoded."""

from typing import Any, TypeVar

import msgspec

from knarr.meta.errors import StatusError
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Admission, ConfigData, Kind, UserInfo

T = TypeVar("T", bound=Resource)


class Undecodable(StatusError):
    """The API holds a document that its kind's model does not accept."""


class _ListMeta(Struct, frozen=True, kw_only=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class ListDocument(Struct, frozen=True, kw_only=True):
    """A List answer, its items still encoded."""

    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] | None = None


class _EventDocument(Struct, frozen=True, kw_only=True):
    type: str
    object: msgspec.Raw


class Codec:
    """Decoders are made once per model. One codec per client; not shared between threads."""

    __slots__ = ("_decoders", "_encoder", "_events", "_lists")

    def __init__(self) -> None:
        self._decoders: dict[type[Resource], msgspec.json.Decoder[Any]] = {}
        self._encoder = msgspec.json.Encoder()
        self._lists = msgspec.json.Decoder(ListDocument)
        self._events = msgspec.json.Decoder(_EventDocument)

    def decode(self, kind: Kind[T], document: bytes | msgspec.Raw) -> T:
        """One object; apiVersion and kind are filled in when absent, as in lists of built-in kinds.

        Raises:
            Undecodable: the document is no JSON or does not fit the model.
        """
        decoder = self._decoders.get(kind.model)
        if decoder is None:
            decoder = self._decoders[kind.model] = msgspec.json.Decoder(kind.model)
        try:
            decoded: T = decoder.decode(document)
        except msgspec.DecodeError as error:
            return self._typed(kind, _decode_nulls(kind, document, error))
        return self._typed(kind, decoded)

    @staticmethod
    def _typed(kind: Kind[T], decoded: T) -> T:
        if decoded.kind:
            return decoded
        return msgspec.structs.replace(decoded, api_version=kind.api_version, kind=kind.kind)

    def encode(self, kind: Kind[T], subject: T) -> bytes:
        """One object with its apiVersion and kind."""
        return self._encoder.encode(self._typed(kind, subject))

    def encode_any(self, document: object) -> bytes:
        """A patch, options or another untyped document."""
        return self._encoder.encode(document)

    def document(self, subject: Resource) -> dict[str, Any]:
        """The JSON document of an object as plain dictionaries and lists."""
        decoded: dict[str, Any] = msgspec.json.decode(self._encoder.encode(subject))
        return decoded

    def decode_list(self, body: bytes) -> ListDocument:
        """A List answer.

        Raises:
            Undecodable: the body is no List.
        """
        try:
            return self._lists.decode(body)
        except msgspec.DecodeError as error:
            raise Undecodable(f"the API's answer is no List: {error}") from error

    def decode_event(self, line: bytes) -> tuple[str, msgspec.Raw]:
        """The type and the encoded object of one line of a watch.

        Raises:
            Undecodable: the line is no watch event.
        """
        try:
            event = self._events.decode(line)
        except msgspec.DecodeError as error:
            raise Undecodable(f"the API's watch sent no event: {error}") from error
        return event.type, event.object


class CompletingCodec(Codec):
    """For an API without Knarr's admission: completes custom kinds as they are read.

    There nobody has written the defaults that controllers rely on. They appear in what is read, not in
    what is stored, as in Knative's own controllers.

    Attributes:
        config: ConfigMaps of the system namespace, for defaults that users choose.
    """

    __slots__ = ("config",)

    def __init__(self, config: ConfigData) -> None:
        super().__init__()
        self.config = config

    def decode(self, kind: Kind[T], document: bytes | msgspec.Raw) -> T:
        """One object with its defaults; see ``Codec.decode``."""
        decoded = super().decode(kind, document)
        if kind.builtin or kind.default is None:
            return decoded
        admission = Admission(
            operation="UPDATE", user=UserInfo(name=""), old=decoded, config=self.config
        )
        completed = kind.default(decoded, admission)
        # the annotations about users are an admission's to write
        return msgspec.structs.replace(completed, metadata=decoded.metadata)


def _decode_nulls(kind: Kind[T], document: bytes | msgspec.Raw, error: msgspec.DecodeError) -> T:
    """A document in which null stands for an absent value, as Go writes empty lists."""
    try:
        found = _without_nulls(msgspec.json.decode(document))
        return msgspec.convert(found, kind.model)
    except msgspec.MsgspecError:
        raise Undecodable(f"the API's {kind.kind} does not fit its model: {error}") from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
