"""``config-gc`` (Knative ``pkg/gc``): when Revisions nobody routes to are deleted."""

from collections.abc import Mapping

import msgspec

from knarr.resources.config.values import ConfigError, ConfigReader
from knarr.resources.duration import SECOND_NS, parse_duration_ns

NAME = "config-gc"
_MAX_INT64 = 2**63 - 1


class GcConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds; None is ``disabled``."""

    retain_since_create_time_s: float | None = 48 * 3600.0
    retain_since_last_active_time_s: float | None = 15 * 3600.0
    min_non_active_revisions: int = 20
    max_non_active_revisions: int | None = 1000


def parse_gc(data: Mapping[str, str]) -> GcConfig:
    """Read ``config-gc``.

    Raises:
        ConfigError: a value does not parse or contradicts another; names the key.
    """
    read = ConfigReader(data)
    try:
        low = read.integer(20, "min-non-active-revisions")
    except ConfigError as error:
        raise ConfigError(f"failed to parse data: {error}") from None
    high = _count(read, "max-non-active-revisions", 1000)
    if low < 0:
        raise ConfigError(f"min-non-active-revisions must be non-negative, was: {low}")
    if high is not None and low > high:
        text = f"min-non-active-revisions({low}) must be <= max-non-active-revisions({high})"
        raise ConfigError(text)
    return GcConfig(
        retain_since_create_time_s=_seconds(read, "retain-since-create-time", 48 * 3600),
        retain_since_last_active_time_s=_seconds(read, "retain-since-last-active-time", 15 * 3600),
        min_non_active_revisions=low,
        max_non_active_revisions=high,
    )


def _seconds(read: ConfigReader, key: str, default: int) -> float | None:
    text = read.text("", key)
    if text.lower() == "disabled":
        return None
    try:
        value = parse_duration_ns(text) if text else default * SECOND_NS
    except ValueError as error:
        raise ConfigError(f"failed to parse {key}: {error}") from None
    if value < 0:
        raise ConfigError(f"failed to parse {key}: must be non-negative")
    return value / SECOND_NS


def _count(read: ConfigReader, key: str, default: int) -> int | None:
    text = read.text("", key)
    if text.lower() == "disabled":
        return None
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()):
        detail = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise ConfigError(f"failed to parse {key}: {detail}")
    if int(text) > _MAX_INT64:
        raise ConfigError(f"failed to parse {key}: value should be lower than {_MAX_INT64}")
    return int(text)
