"""Channel messages: one byte says which of a session's streams, the rest is its payload.

Kubernetes' ``v5.channel.k8s.io`` and the protocol between server and node agent (``docs/protocol.md``) share
this form. For a command 0 to 4 are standard input, output and error, the final status, terminal sizes; for
a forwarded port 0 goes to the Pod, 1 comes from it, 3 is an error's text. 255 carries the number of a channel
that has ended.
"""

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


def encode_message(channel: int, payload: bytes = b"") -> bytes:
    """A message of one channel."""
    return bytes((channel,)) + payload


def encode_close(channel: int) -> bytes:
    """The message that ends a channel."""
    return bytes((CLOSE, channel))


def decode_message(message: bytes) -> tuple[int, bytes] | None:
    """Channel and payload; None for an empty message, which means nothing."""
    return (message[0], message[1:]) if message else None
