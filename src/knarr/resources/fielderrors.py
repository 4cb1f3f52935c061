"""Field errors in Kubernetes' words (``apimachinery/pkg/util/validation/field``)."""

from collections.abc import Iterable, Sequence

import msgspec

from knarr.meta.fielderrors import FieldError

IMMUTABLE = "field is immutable"


def quoted(value: object) -> str:
    """A value as the API server shows it: JSON."""
    return msgspec.json.encode(value).decode()


def required(path: str, detail: str = "") -> FieldError:
    """A field that must be set."""
    return FieldError(
        message="Required value", paths=(path,), details=detail, reason="FieldValueRequired"
    )


def invalid(path: str, value: object, detail: str) -> FieldError:
    """A value that breaks a rule."""
    return FieldError(message=f"Invalid value: {quoted(value)}", paths=(path,), details=detail)


def not_supported(path: str, value: object, supported: Sequence[str]) -> FieldError:
    """A value outside an enumeration."""
    names = ", ".join(f'"{name}"' for name in sorted(supported))
    return FieldError(
        message=f"Unsupported value: {quoted(value)}",
        paths=(path,),
        details=f"supported values: {names}",
        reason="FieldValueNotSupported",
    )


def forbidden(path: str, detail: str) -> FieldError:
    """A field that must not be set or changed."""
    return FieldError(
        message="Forbidden", paths=(path,), details=detail, reason="FieldValueForbidden"
    )


def duplicate(path: str, value: object) -> FieldError:
    """A value that must be unique."""
    return FieldError(
        message=f"Duplicate value: {quoted(value)}",
        paths=(path,),
        reason="FieldValueDuplicate",
    )


def too_long(path: str, limit_bytes: int) -> FieldError:
    """A value that is longer than allowed."""
    return FieldError(
        message="Too long",
        paths=(path,),
        details=f"may not be more than {limit_bytes} bytes",
        reason="FieldValueTooLong",
    )


def duplicates(path: str, names: Iterable[str], field: str = "name") -> list[FieldError]:
    """One error for each name of a list that occurred before; empty names are left out."""
    seen: set[str] = set()
    errors = []
    for index, name in enumerate(names):
        if name and name in seen:
            errors.append(duplicate(f"{path}[{index}].{field}", name))
        seen.add(name)
    return errors
