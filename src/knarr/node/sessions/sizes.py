"""Terminal sizes as clients send them. Pure."""

import msgspec

_MOST = 0xFFFF


class _Size(msgspec.Struct, frozen=True, rename="pascal"):
    width: int = 0
    height: int = 0


def parse_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in characters from ``{"Width":…,"Height":…}``; None when it is something else."""
    try:
        size = msgspec.json.decode(data, type=_Size)
    except msgspec.DecodeError:
        return None
    if not (0 < size.width <= _MOST and 0 < size.height <= _MOST):
        return None
    return size.width, size.height
