"""Helpers for printer columns: what ``kubectl get`` shows of a document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knarr.kits.clock import parse_timestamp
from knarr.resources.kind import Column

NONE = "<none>"
CREATED = ".metadata.creationTimestamp"
UNKNOWN = "<unknown>"

Cell = Callable[[Mapping[str, Any], float], object]
Document = Mapping[str, Any]

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400
_STEPS = (  # below this many seconds: unit, its name, and a smaller unit to add
    (2 * _MINUTE, 1, "s", 0, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)


def human_duration(seconds: float) -> str:
    """A duration as kubectl writes ages: ``45s``, ``3m20s``, ``5h``, ``12d``.

    Up to two seconds into the future count as now: clocks differ.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(whole, 0)
    for limit, unit, name, smaller, smaller_name in _STEPS:
        if whole < limit:
            rest = whole % unit // smaller if smaller else 0
            return f"{whole // unit}{name}" + (f"{rest}{smaller_name}" if rest else "")
    return f"{whole // _YEAR}y"


def since(timestamp: object, now: float) -> str:
    """How long ago a timestamp was, or ``<unknown>``."""
    if not isinstance(timestamp, str) or not timestamp:
        return UNKNOWN
    try:
        return human_duration(now - parse_timestamp(timestamp).timestamp())
    except ValueError:
        return UNKNOWN


def get(document: object, *path: str) -> Any:
    """The value at a path of mappings, or None."""
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def items(document: object, *path: str) -> Sequence[Any]:
    """The list at a path, or an empty one."""
    found = get(document, *path)
    return found if isinstance(found, list) else ()


@dataclass(frozen=True, slots=True)
class PathCell:
    """A cell that a JSON path describes as well, for tables that others make.

    Attributes:
        read: as of any cell.
        json_path: as ``additionalPrinterColumns`` of a CustomResourceDefinition write it.
    """

    read: Cell
    json_path: str

    def __call__(self, document: Document, now: float) -> object:
        """The value for a document."""
        return self.read(document, now)


def json_path(*path: str) -> str:
    """The JSON path of nested fields; names with dots are quoted."""
    steps = (f".{name}" if "." not in name else _quoted(name) for name in path)
    return "".join(steps)


def _quoted(name: str) -> str:
    return "['" + name.replace(".", "\\.") + "']"


def text(*path: str) -> PathCell:
    """A cell that shows the value at a path; nothing when it is absent."""
    return PathCell(lambda document, _: get(document, *path), json_path(*path))


def number(*path: str) -> PathCell:
    """A cell that shows the number at a path; 0 when it is absent."""
    return PathCell(lambda document, _: get(document, *path) or 0, json_path(*path))


def condition(kind: str, field: str) -> PathCell:
    """A cell that shows a field of one of the object's conditions."""

    def cell(document: Document, _: float) -> object:
        for item in items(document, "status", "conditions"):
            if get(item, "type") == kind:
                return get(item, field)
        return None

    return PathCell(cell, f".status.conditions[?(@.type=='{kind}')].{field}")


def age_cell(document: Document, now: float) -> object:
    """The cell of the Age column."""
    return since(get(document, "metadata", "creationTimestamp"), now)


def format_labels(labels: object) -> str:
    """Labels as ``a=b,c=d``, sorted; ``<none>`` without any."""
    if not isinstance(labels, Mapping) or not labels:
        return NONE
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def format_selector(selector: object) -> str:
    """A label selector of ``apps/v1`` as text."""
    terms = [
        f"{key}={value}" for key, value in sorted((get(selector, "matchLabels") or {}).items())
    ]
    for item in items(selector, "matchExpressions"):
        key, values = get(item, "key"), ",".join(sorted(items(item, "values")))
        match get(item, "operator"):
            case "In":
                terms.append(f"{key} in ({values})")
            case "NotIn":
                terms.append(f"{key} notin ({values})")
            case "Exists":
                terms.append(f"{key}")
            case "DoesNotExist":
                terms.append(f"!{key}")
            case _:
                continue
    return ",".join(terms) or NONE


def containers_cell(*path: str) -> Cell:
    """A cell with the names of a template's containers."""
    return lambda document, _: ",".join(str(get(item, "name")) for item in items(document, *path))


def images_cell(*path: str) -> Cell:
    """A cell with the images of a template's containers."""
    return lambda document, _: ",".join(str(get(item, "image")) for item in items(document, *path))


AGE = Column("Age", "string", PathCell(age_cell, CREATED))
READY = Column("Ready", "string", condition("Ready", "status"))
REASON = Column("Reason", "string", condition("Ready", "reason"))
