"""Reading values that Knative keeps as annotations; what does not parse counts as absent."""

from collections.abc import Mapping

from knarr.resources.duration import parse_duration


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
