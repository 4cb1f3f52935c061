"""Reading values that Knative keeps as strings: ConfigMap entries, annotations, Go durations."""

from collections.abc import Mapping

from knarr.meta.errors import KnarrError
from knarr.resources.duration import parse_duration

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class ConfigError(KnarrError):
    """A ConfigMap's value cannot be used; the last good configuration stays."""


class ConfigReader:
    """Typed access to a ConfigMap's ``data`` with defaults."""

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, str]) -> None:
        self._data = data

    def text(self, key: str, default: str) -> str:
        """A string."""
        return self._data.get(key, default)

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean, in the spellings that Go reads.

        Raises:
            ConfigError: it is something else.
        """
        if key not in self._data:
            return default
        value = self._data[key]
        if value not in _TRUE and value not in _FALSE:
            raise ConfigError(f"failed to parse {key!r}: {value!r} is no boolean")
        return value in _TRUE

    def number(self, key: str, default: float) -> float:
        """A floating-point number.

        Raises:
            ConfigError: it is none.
        """
        if key not in self._data:
            return default
        try:
            return float(self._data[key])
        except ValueError as error:
            raise ConfigError(f"failed to parse {key!r}: {error}") from None

    def integer(self, key: str, default: int) -> int:
        """A whole number.

        Raises:
            ConfigError: it is none.
        """
        if key not in self._data:
            return default
        try:
            return int(self._data[key])
        except ValueError as error:
            raise ConfigError(f"failed to parse {key!r}: {error}") from None

    def duration(self, key: str, default_s: float) -> float:
        """Seconds of a Go duration.

        Raises:
            ConfigError: it is none.
        """
        if key not in self._data:
            return default_s
        try:
            return parse_duration(self._data[key])
        except ValueError as error:
            raise ConfigError(f"failed to parse {key!r}: {error}") from None


def _camel(key: str) -> str:
    prefix, _, name = key.rpartition("/")
    head, *tail = name.split("-")
    return f"{prefix}/{head}{''.join(part.capitalize() for part in tail)}"


def annotation_text(annotations: Mapping[str, str], key: str, default: str) -> str:
    """An annotation by its kebab-case key or that key's legacy camelCase twin."""
    value = annotations.get(key)
    return annotations.get(_camel(key), default) if value is None else value


def annotation_int(annotations: Mapping[str, str], key: str, default: int) -> int:
    """A whole number; one that does not parse counts as absent."""
    try:
        return int(annotation_text(annotations, key, ""))
    except ValueError:
        return default


def annotation_float(annotations: Mapping[str, str], key: str, default: float) -> float:
    """A number; one that does not parse counts as absent."""
    try:
        return float(annotation_text(annotations, key, ""))
    except ValueError:
        return default


def annotation_duration(annotations: Mapping[str, str], key: str, default_s: float) -> float:
    """Seconds of a Go duration; one that does not parse counts as absent."""
    try:
        return parse_duration(annotation_text(annotations, key, ""))
    except ValueError:
        return default_s
