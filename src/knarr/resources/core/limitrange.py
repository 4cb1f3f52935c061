"""LimitRange (``v1``)."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Resource, Struct
from knarr.resources.columns import text
from knarr.resources.core.pod_defaults import canonical_quantities
from knarr.resources.core.volume import Quantity
from knarr.resources.fielderrors import duplicate, forbidden, invalid, not_supported, required
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors
from knarr.resources.quantity import parse_quantity

CONTAINER, POD, CLAIM = "Container", "Pod", "PersistentVolumeClaim"
_TYPES = (CONTAINER, CLAIM, POD)
_LISTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


class LimitRangeItem(Struct, frozen=True, kw_only=True):
    """Bounds and defaults of one type of thing: Container, Pod or PersistentVolumeClaim."""

    type: str = ""
    max: Mapping[str, Quantity] | None = None
    min: Mapping[str, Quantity] | None = None
    default: Mapping[str, Quantity] | None = None
    default_request: Mapping[str, Quantity] | None = None
    max_limit_request_ratio: Mapping[str, Quantity] | None = None


class LimitRangeSpec(Struct, frozen=True, kw_only=True):
    """The bounds."""

    limits: tuple[LimitRangeItem, ...] = ()


class LimitRange(Resource, frozen=True, kw_only=True):
    """Bounds and defaults for the resources of each Pod, container or claim of a namespace."""

    spec: LimitRangeSpec | None = None


def _default_item(item: LimitRangeItem) -> LimitRangeItem:
    """For containers the defaults follow from the bounds (``SetDefaults_LimitRangeItem``)."""
    item = replace(
        item,
        max=canonical_quantities(item.max),
        min=canonical_quantities(item.min),
        default=canonical_quantities(item.default),
        default_request=canonical_quantities(item.default_request),
        max_limit_request_ratio=canonical_quantities(item.max_limit_request_ratio),
    )
    if item.type != CONTAINER:
        return item
    default = {**(item.max or {}), **(item.default or {})}
    request = {**(item.min or {}), **default, **(item.default_request or {})}
    return replace(item, default=default or None, default_request=request or None)


def default_limit_range(subject: LimitRange, _: Admission) -> LimitRange:
    """Canonical quantities; the defaults of containers follow from their bounds."""
    spec = subject.spec or LimitRangeSpec()
    return replace(
        subject, spec=replace(spec, limits=tuple(_default_item(item) for item in spec.limits))
    )


def _quantity_errors(item: LimitRangeItem) -> list[FieldError]:
    errors = []
    for path in _LISTS:
        values: Mapping[str, Quantity] = msgspec.to_builtins(item).get(path) or {}
        for name, quantity in values.items():
            try:
                parse_quantity(quantity)
            except ValueError as error:
                errors.append(invalid(f"{path}[{name}]", quantity, str(error)))
    return errors


def _order_errors(item: LimitRangeItem) -> list[FieldError]:
    """Min ≤ defaultRequest ≤ default ≤ max, where they are given."""
    steps = (
        ("min", "min", item.min),
        ("defaultRequest", "default request", item.default_request),
        ("default", "default", item.default),
        ("max", "max", item.max),
    )
    errors = []
    for low, (low_path, low_text, lower) in enumerate(steps):
        for _, high_text, upper in steps[low + 1 :]:
            for name, value in (lower or {}).items():
                bound = (upper or {}).get(name)
                if bound is not None and parse_quantity(value).value > parse_quantity(bound).value:
                    detail = f"{low_text} value {value} is greater than {high_text} value {bound}"
                    errors.append(invalid(f"{low_path}[{name}]", str(value), detail))
    return errors


def _item_errors(item: LimitRangeItem) -> list[FieldError]:
    if item.type not in _TYPES:
        return [not_supported("type", item.type, _TYPES)]
    errors = _quantity_errors(item)
    if errors:
        return errors
    if item.type == POD:
        detail = "may not be specified when `type` is 'Pod'"
        if item.default:
            errors.append(forbidden("default", detail))
        if item.default_request:
            errors.append(forbidden("defaultRequest", detail))
    if item.type == CLAIM and "storage" not in {**(item.min or {}), **(item.max or {})}:
        errors.append(
            required(
                "", "either minimum or maximum storage value is required, but neither was provided"
            )
        )
    for name, ratio in (item.max_limit_request_ratio or {}).items():
        if parse_quantity(ratio).value < 1:
            path = f"maxLimitRequestRatio[{name}]"
            errors.append(invalid(path, ratio, f"ratio {ratio} is less than 1"))
    return errors + _order_errors(item)


def validate_limit_range(subject: LimitRange, _: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: each type once, bounds in order."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, item in enumerate(subject.spec.limits if subject.spec else ()):
        path = f"spec.limits[{index}]"
        if item.type in seen:
            errors.append(duplicate(f"{path}.type", item.type))
        seen.add(item.type)
        errors += at(path, _item_errors(item))
    return (*metadata_errors(subject.metadata), *errors)


LIMIT_RANGE: Kind[LimitRange] = Kind(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    singular="limitrange",
    short_names=("limits",),
    builtin=True,
    has_status=False,
    model=LimitRange,
    age=False,
    columns=(Column("Created At", "date", text("metadata", "creationTimestamp")),),
    default=default_limit_range,
    validate=validate_limit_range,
)
