"""Reading the texts of a ConfigMap with Knative's words for what does not parse."""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from knarr.meta.errors import KnarrError
from knarr.resources.duration import SECOND_NS, parse_duration_ns
from knarr.resources.quantity import canonical_quantity

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class ConfigError(KnarrError):
    """A ConfigMap's value cannot be used; the last good configuration stays in force."""


def parse_int(text: str, bits: int = 64) -> int:
    """A whole number of a size.

    Raises:
        ValueError: in the words of Go's ``strconv``.
    """
    if not _INTEGER.fullmatch(text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_float(text: str) -> float:
    """A decimal number.

    Raises:
        ValueError: in the words of Go's ``strconv``.
    """
    if not _FLOAT.fullmatch(text):
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax')
    value = float(text)
    if math.isinf(value):
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": value out of range')
    return value


def parse_bool(text: str) -> bool:
    """A boolean in the spellings that Go reads.

    Raises:
        ValueError: in the words of Go's ``strconv``.
    """
    if text not in _TRUE and text not in _FALSE:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


class ConfigReader:
    """Typed access to a ConfigMap's ``data``; every method raises ``ConfigError`` naming its key."""

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, str]) -> None:
        self._data = data

    def has(self, *keys: str) -> bool:
        """Whether one of the keys is set."""
        return any(key in self._data for key in keys)

    def raw(self, *keys: str) -> str | None:
        """The text of the last of the keys that is set: newer spellings come last."""
        return next((self._data[key] for key in reversed(keys) if key in self._data), None)

    def text(self, default: str, *keys: str) -> str:
        """A text without the space around it."""
        raw = self.raw(*keys)
        return default if raw is None else raw.strip()

    def flag(self, *keys: str, default: bool) -> bool:
        """A boolean."""
        return bool(self._parse(parse_bool, default, keys))

    def number(self, default: float, *keys: str) -> float:
        """A decimal number."""
        return float(self._parse(parse_float, default, keys))

    def integer(self, default: int, *keys: str, bits: int = 64) -> int:
        """A whole number."""
        return int(self._parse(lambda raw: parse_int(raw, bits), default, keys))

    def duration_ns(self, default_ns: int, *keys: str) -> int:
        """Nanoseconds of a Go duration."""
        return int(self._parse(parse_duration_ns, default_ns, keys))

    def seconds(self, default_s: float, *keys: str) -> float:
        """Seconds of a Go duration."""
        return self.duration_ns(int(default_s * SECOND_NS), *keys) / SECOND_NS

    def quantity(self, default: str | None, *keys: str) -> str | None:
        """A quantity in its canonical text."""
        found: str | None = self._parse(canonical_quantity, default, keys)
        return found

    def names(self, default: tuple[str, ...], *keys: str) -> frozenset[str]:
        """Texts separated by commas."""
        raw = self.raw(*keys)
        if raw is None:
            return frozenset(default)
        return frozenset(part.strip() for part in raw.split(","))

    def yaml(self, *keys: str) -> Any:
        """A YAML document, or None."""
        return self._parse(_load_yaml, None, keys)

    def _parse(self, parse: Any, default: Any, keys: tuple[str, ...]) -> Any:
        value = default
        for key in keys:
            if key in self._data:
                try:
                    value = parse(self._data[key])
                except ValueError as error:
                    raise ConfigError(f'failed to parse "{key}": {error}') from None
        return value


def _load_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def go_float(value: float) -> str:
    """A number as Go's ``%v`` prints it."""
    return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)
