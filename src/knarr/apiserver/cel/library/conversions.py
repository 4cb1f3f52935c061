"""Conversions between types, and parts of times (cel-go ``common/types``)."""

import math
from collections.abc import Callable
from typing import Any, Final

from knarr.apiserver.cel.numbers import float_text, parse_float, parse_integer, parse_unsigned
from knarr.apiserver.cel.times import (
    BadTime,
    duration_of,
    duration_text,
    parse_duration_text,
    parse_timestamp_text,
    part_of,
    timestamp_of,
    timestamp_text,
)
from knarr.apiserver.cel.values import (
    MAX_INT,
    MAX_UINT,
    MIN_INT,
    Budget,
    Duration,
    EvalError,
    NoOverload,
    Opaque,
    Timestamp,
    Uint,
    int_of,
    is_number,
    type_name,
    uint_of,
)

Function = Callable[..., Any]
_SECOND: Final = 10**9
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def _bad(value: Any, wanted: str) -> EvalError:
    return EvalError(f"type conversion error from '{type_name(value)}' to '{wanted}'")


def _to_int(_: Budget, value: Any) -> int:
    match value:
        case bool():
            raise NoOverload
        case str():
            number = parse_integer(value)
            if number is None:
                raise _bad(value, "int")
            return number
        case float():
            if not MIN_INT <= value < MAX_INT or math.isnan(value):
                raise EvalError("integer overflow")
            return int(value)
        case Timestamp():
            return value.ns // _SECOND
        case Duration():
            return value.ns
        case int():
            return int_of(int(value))
        case _:
            raise NoOverload


def _to_uint(_: Budget, value: Any) -> Uint:
    match value:
        case bool():
            raise NoOverload
        case str():
            number = parse_unsigned(value)
            if number is None:
                raise _bad(value, "uint")
            return Uint(number)
        case float():
            if not 0 <= value < MAX_UINT or math.isnan(value):
                raise EvalError("unsigned integer overflow")
            return Uint(int(value))
        case int():
            return uint_of(value)
        case _:
            raise NoOverload


def _to_double(_: Budget, value: Any) -> float:
    if isinstance(value, str):
        number = parse_float(value)
        if number is None:
            raise _bad(value, "double")
        return number
    if is_number(value):
        return float(value)
    raise NoOverload


def _to_string(budget: Budget, value: Any) -> str:  # noqa: PLR0911 - kinds of values
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return float_text(value)
        case int():
            return str(int(value))
        case bytes():
            budget.spend(len(value) // 10)
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise EvalError("invalid UTF-8 in bytes, cannot convert to string") from None
        case Timestamp():
            return timestamp_text(value)
        case Duration():
            return duration_text(value)
        case Opaque() if value.type_name in ("net.IP", "net.CIDR"):
            return str(value)
        case _:
            raise NoOverload


def _to_bytes(budget: Budget, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise NoOverload
    budget.spend(len(value) // 10)
    return value.encode(errors="surrogatepass")


def _to_bool(_: Budget, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise NoOverload
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise _bad(value, "bool")


def _to_timestamp(_: Budget, value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if type(value) is int:
        return timestamp_of(value * _SECOND)
    if not isinstance(value, str):
        raise NoOverload
    try:
        return parse_timestamp_text(value)
    except BadTime:
        raise _bad(value, "google.protobuf.Timestamp") from None


def _to_duration(_: Budget, value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if type(value) is int:
        return duration_of(value)
    if not isinstance(value, str):
        raise NoOverload
    try:
        return parse_duration_text(value)
    except BadTime:
        raise _bad(value, "google.protobuf.Duration") from None


def _part(name: str) -> Function:
    def apply(_: Budget, value: Any, zone: Any = "UTC") -> int:
        if not isinstance(value, Timestamp | Duration) or not isinstance(zone, str):
            raise NoOverload
        return part_of(name, value, zone)

    return apply


_PARTS: Final = (
    "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getMonth", "getHours",
    "getMinutes", "getSeconds", "getMilliseconds",
)  # fmt: skip
CONVERSIONS: Final[dict[str, Function]] = {
    **{name: _part(name) for name in _PARTS},
    "int": _to_int,
    "uint": _to_uint,
    "double": _to_double,
    "string": _to_string,
    "bytes": _to_bytes,
    "bool": _to_bool,
    "timestamp": _to_timestamp,
    "duration": _to_duration,
}
