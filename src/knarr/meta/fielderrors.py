"""Validation results that name the field, the value and the remedy.

Two dialects share one record. Knative's (``knative.dev/pkg/apis.FieldError``) is rendered by
``format_field_errors``: ``message: path1, path2`` with optional details on the next line, merged per
message and sorted. Kubernetes' is a list of causes of a 422. Functions return tuples of ``FieldError``
and never raise; paths are relative and prefixed on the way up with ``at``.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from knarr.meta.errors import Cause

Level = Literal["error", "warning"]


class FieldError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong with one or several fields.

    Attributes:
        message: without paths, e.g. ``missing field(s)``.
        paths: dotted, relative to the object validated so far, e.g. ``containers[0].image``.
        details: explanatory text on its own line.
        level: warnings go to the ``Warning`` header and never block.
        reason: ``metav1.CauseType`` for the Kubernetes dialect.
    """

    message: str
    paths: tuple[str, ...] = ("",)
    details: str = ""
    level: Level = "error"
    reason: str = "FieldValueInvalid"

    def at(self, prefix: str) -> "FieldError":
        """The same error seen from a parent: ``prefix`` goes before every path."""
        return msgspec.structs.replace(
            self, paths=tuple(_join(prefix, path) for path in self.paths)
        )


def _join(prefix: str, path: str) -> str:
    if not path:
        return prefix
    head = path.partition(".")[0]
    is_index = head.startswith("[") and head.endswith("]")
    return f"{prefix}{path}" if is_index else f"{prefix}.{path}"


def at(prefix: str, errors: Iterable[FieldError]) -> tuple[FieldError, ...]:
    """Prefix every error of a nested validation."""
    return tuple(error.at(prefix) for error in errors)


def missing(*paths: str) -> FieldError:
    """Knative's ``ErrMissingField``."""
    return FieldError(message="missing field(s)", paths=paths, reason="FieldValueRequired")


def disallowed(*paths: str, details: str = "") -> FieldError:
    """Knative's ``ErrDisallowedFields``."""
    return FieldError(
        message="must not set the field(s)",
        paths=paths,
        details=details,
        reason="FieldValueForbidden",
    )


def invalid_value(value: object, path: str, details: str = "") -> FieldError:
    """Knative's ``ErrInvalidValue``."""
    return FieldError(message=f"invalid value: {value}", paths=(path,), details=details)


def missing_one_of(*paths: str) -> FieldError:
    """Knative's ``ErrMissingOneOf``."""
    return FieldError(
        message="expected exactly one, got neither", paths=paths, reason="FieldValueRequired"
    )


def multiple_one_of(*paths: str) -> FieldError:
    """Knative's ``ErrMultipleOneOf``."""
    return FieldError(message="expected exactly one, got both", paths=paths)


def out_of_bounds(value: object, lower: object, upper: object, path: str) -> FieldError:
    """Knative's ``ErrOutOfBoundsValue``."""
    return FieldError(message=f"expected {lower} <= {value} <= {upper}", paths=(path,))


def invalid_key_name(key: str, path: str, details: str = "") -> FieldError:
    """Knative's ``ErrInvalidKeyName``."""
    return FieldError(message=f'invalid key name "{key}"', paths=(path,), details=details)


def format_field_errors(errors: Iterable[FieldError]) -> str:
    """Knative's text of a set of errors: merged per (level, message, details), sorted, by line."""
    merged: dict[tuple[str, str, str], set[str]] = {}
    for error in errors:
        merged.setdefault((error.level, error.message, error.details), set()).update(error.paths)
    lines: list[str] = []
    for (_, message, details), paths in sorted(merged.items(), key=lambda item: item[0][1:]):
        text = f"{message}: {', '.join(sorted(paths))}"
        lines.append(f"{text}\n{details}" if details else text)
    return "\n".join(lines)


def causes_of(errors: Iterable[FieldError]) -> list[Cause]:
    """The same errors as causes of a Kubernetes 422, one per path."""
    return [
        Cause(
            reason=error.reason,
            message=f"{error.message}: {error.details}" if error.details else error.message,
            field=path,
        )
        for error in errors
        for path in error.paths
    ]
