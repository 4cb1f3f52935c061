"""The server's side of one SPDY/3.1 connection as a state machine: bytes in, events and bytes out. Pure.

Kubernetes' Go clients neither keep to windows nor open them, so they bind only once the peer has shown that
it does flow control (a SETTINGS with an initial window, or a WINDOW_UPDATE). Windows are opened for the peer
as its data is consumed either way. What bounds memory is that nobody reads from the socket while a stream is
full.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from knarr.apiserver.streams.spdy import frames
from knarr.apiserver.streams.spdy.frames import ControlFrame, DataFrame, FrameReader, SpdyError
from knarr.apiserver.streams.spdy.headers import HeaderDecoder, HeaderEncoder, HeaderError

MAX_STREAMS = 1024
"""Open at the same time; more are refused."""
_INITIAL_WINDOW = 64 * 1024
_MAX_WINDOW = (1 << 31) - 1
_GRANT_FROM = _INITIAL_WINDOW // 2


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream; it waits for ``reply``."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of a stream; after ``fin`` the peer sends no more."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Aborted:
    """The peer reset a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class WindowsGrew:
    """More may be sent than before."""


@dataclass(frozen=True, slots=True)
class WentAway:
    """The peer opens no more streams."""


Event = Opened | Received | Aborted | WindowsGrew | WentAway


@dataclass(slots=True)
class _Stream:
    """``sent`` and ``granted`` count payload bytes; ``consumed`` those not granted back yet."""

    remote_open: bool
    local_open: bool
    sent: int = 0
    granted: int = 0
    consumed: int = 0


class Connection:
    """See the module."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        self._decoder = HeaderDecoder()
        self._encoder = HeaderEncoder()
        self._streams: dict[int, _Stream] = {}
        self._whole = _Stream(remote_open=True, local_open=True)
        self._out = bytearray()
        self._last = 0
        self._pings = 0
        self._initial = _INITIAL_WINDOW
        self._flow_control = False

    # --- from the peer --------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Event]:
        """What the bytes mean; answers that need no decision are in ``take`` afterwards.

        Raises:
            SpdyError: the peer broke the protocol; ``take`` has the GOAWAY that says so.
        """
        events: list[Event] = []
        try:
            for frame in self._reader.feed(data):
                if isinstance(frame, DataFrame):
                    self._data(frame, events)
                else:
                    self._control(frame, events)
        except (SpdyError, HeaderError) as error:
            self._out += frames.go_away(self._last, frames.GO_AWAY_PROTOCOL_ERROR)
            raise SpdyError(str(error)) from error
        return events

    def _data(self, frame: DataFrame, events: list[Event]) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            self.consumed(0, len(frame.data))
            if frame.stream > self._last or not frame.stream % 2:
                self._out += frames.rst_stream(frame.stream, frames.INVALID_STREAM)
            return
        if not stream.remote_open:
            self.consumed(0, len(frame.data))
            self._out += frames.rst_stream(frame.stream, frames.STREAM_ALREADY_CLOSED)
            self._drop(frame.stream, events)
            return
        if frame.fin:
            stream.remote_open = False
        events.append(Received(frame.stream, frame.data, frame.fin))
        self._forget_if_done(frame.stream)

    def _control(self, frame: ControlFrame, events: list[Event]) -> None:
        match frame.kind:
            case frames.SYN_STREAM:
                self._syn_stream(frame, events)
            case frames.RST_STREAM:
                self._drop(frames.stream_of(frame.body, 8), events)
            case frames.SETTINGS:
                self._settings(frame, events)
            case frames.PING:
                identifier = frames.stream_of(frame.body)
                if identifier % 2:
                    self._out += frames.ping(identifier)
            case frames.GOAWAY:
                events.append(WentAway())
            case frames.HEADERS:
                # Read only because every block moves the compression's state.
                self._decoder.decode(frame.body[4:])
            case frames.WINDOW_UPDATE:
                self._window_update(frame, events)
            case frames.SYN_REPLY:
                raise SpdyError("a SYN_REPLY without a SYN_STREAM")
            case _:
                return

    def _syn_stream(self, frame: ControlFrame, events: list[Event]) -> None:
        headers = self._decoder.decode(frames.syn_stream_block(frame.body))
        identifier = frames.stream_of(frame.body)
        if identifier <= self._last or not identifier % 2:
            raise SpdyError(f"a client may not open stream {identifier} after {self._last}")
        self._last = identifier
        if len(self._streams) >= MAX_STREAMS:
            self._out += frames.rst_stream(identifier, frames.REFUSED_STREAM)
            return
        fin = bool(frame.flags & frames.FLAG_FIN)
        one_way = bool(frame.flags & frames.FLAG_UNIDIRECTIONAL)
        self._streams[identifier] = _Stream(remote_open=not fin, local_open=not one_way)
        events.append(Opened(identifier, headers, fin))
        self._forget_if_done(identifier)

    def _settings(self, frame: ControlFrame, events: list[Event]) -> None:
        window = frames.settings_of(frame.body).get(frames.SETTING_INITIAL_WINDOW)
        if window is None:
            return
        if window > _MAX_WINDOW:
            raise SpdyError("the initial window is too large")
        self._initial, self._flow_control = window, True
        events.append(WindowsGrew())

    def _window_update(self, frame: ControlFrame, events: list[Event]) -> None:
        identifier = frames.stream_of(frame.body, 8)
        growth = frames.second_word(frame.body) & _MAX_WINDOW
        self._flow_control = True
        stream = self._streams.get(identifier) if identifier else self._whole
        if stream is None:
            return
        stream.granted += growth
        if self._initial + stream.granted - stream.sent > _MAX_WINDOW:
            if not identifier:
                raise SpdyError("the connection's window is too large")
            self._out += frames.rst_stream(identifier, frames.FLOW_CONTROL_ERROR)
            self._drop(identifier, events)
            return
        events.append(WindowsGrew())

    def _drop(self, identifier: int, events: list[Event]) -> None:
        if self._streams.pop(identifier, None) is not None:
            events.append(Aborted(identifier))

    def _forget_if_done(self, identifier: int) -> None:
        stream = self._streams[identifier]
        if not stream.remote_open and not stream.local_open:
            del self._streams[identifier]

    # --- to the peer ----------------------------------------------------------------------------------

    def take(self) -> bytes:
        """What is to be sent now, once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def reply(self, identifier: int) -> None:
        """Accept a stream that was opened."""
        if identifier in self._streams:
            self._out += frames.syn_reply(identifier, self._encoder.encode({}))

    def room(self, identifier: int) -> int:
        """How many bytes of a stream may be sent now; 0 when it is closed for sending."""
        stream = self._streams.get(identifier)
        if stream is None or not stream.local_open:
            return 0
        if not self._flow_control:
            return _MAX_WINDOW
        own = self._initial + stream.granted - stream.sent
        whole = _INITIAL_WINDOW + self._whole.granted - self._whole.sent
        return max(0, min(own, whole))

    def known(self, identifier: int) -> bool:
        """Whether a stream is open in any direction."""
        return identifier in self._streams

    def writable(self, identifier: int) -> bool:
        """Whether a stream is open for sending, whatever its window."""
        stream = self._streams.get(identifier)
        return stream is not None and stream.local_open

    def send(self, identifier: int, data: bytes, *, fin: bool = False) -> None:
        """Queue one DATA frame; the caller keeps to ``room``. Nothing happens on a closed stream."""
        stream = self._streams.get(identifier)
        if stream is None or not stream.local_open:
            return
        stream.sent += len(data)
        self._whole.sent += len(data)
        self._out += frames.data_frame(identifier, data, fin=fin)
        if fin:
            stream.local_open = False
            self._forget_if_done(identifier)

    def reset(self, identifier: int, status: int) -> None:
        """Give a stream up in both directions. Idempotent."""
        if self._streams.pop(identifier, None) is not None:
            self._out += frames.rst_stream(identifier, status)

    def consumed(self, identifier: int, count: int) -> None:
        """Somebody took ``count`` bytes of a stream: open the windows again once it is worth a frame."""
        stream = self._streams.get(identifier)
        counted = [(0, self._whole)]
        if stream is not None and stream.remote_open:
            counted.append((identifier, stream))
        for number, one in counted:
            one.consumed += count
            if one.consumed >= _GRANT_FROM:
                self._out += frames.window_update(number, one.consumed)
                one.consumed = 0

    def ping(self) -> None:
        """Queue a PING of ours; its answer is swallowed."""
        self._pings += 2
        self._out += frames.ping(self._pings & _MAX_WINDOW - 1)

    def go_away(self) -> None:
        """Queue the polite end."""
        self._out += frames.go_away(self._last, frames.GO_AWAY_OK)
