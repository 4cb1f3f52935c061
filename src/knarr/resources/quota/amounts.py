"""Sums and comparisons of resources by name. Pure.

An amount keeps the format of the quantity that it came from (``1Gi`` plus ``1Gi`` is ``2Gi``), as in
Kubernetes.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from knarr.resources.core.container import Container
from knarr.resources.core.podspec import PodSpec
from knarr.resources.quantity import Quantity, parse_quantity

Amounts = Mapping[str, Quantity]
Raw = Mapping[str, str | int | float] | None
ZERO = Quantity(Decimal(0))
ONE = Quantity(Decimal(1))


def amounts_of(raw: Raw) -> dict[str, Quantity]:
    """Quantities of a document as numbers; what is no quantity counts as none."""
    found: dict[str, Quantity] = {}
    for name, text in (raw or {}).items():
        try:
            found[name] = parse_quantity(text)
        except ValueError:
            continue
    return found


def plus(left: Quantity, right: Quantity) -> Quantity:
    """The sum, in the format of whichever says something."""
    form = right.format if left.value == 0 else left.format
    return Quantity(left.value + right.value, form)


def minus(left: Quantity, right: Quantity) -> Quantity:
    """The difference, in the format of whichever says something."""
    form = right.format if left.value == 0 else left.format
    return Quantity(left.value - right.value, form)


def total(parts: Iterable[Amounts]) -> dict[str, Quantity]:
    """The sum by name."""
    result: dict[str, Quantity] = {}
    for part in parts:
        for name, amount in part.items():
            result[name] = plus(result.get(name, ZERO), amount)
    return result


def largest(parts: Iterable[Amounts]) -> dict[str, Quantity]:
    """The maximum by name."""
    result: dict[str, Quantity] = {}
    for part in parts:
        for name, amount in part.items():
            if name not in result or amount.value > result[name].value:
                result[name] = amount
    return result


def written(amounts: Amounts) -> dict[str, str]:
    """Amounts as a document has them."""
    return {name: str(amount) for name, amount in amounts.items()}


def listed(amounts: Amounts) -> str:
    """``cpu=1,memory=1Gi``, sorted: what refusals show."""
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))


def requests_and_limits(spec: PodSpec | None) -> tuple[dict[str, Quantity], dict[str, Quantity]]:
    """What a Pod asks for and may use: the sum of its containers, or the largest init container."""
    if spec is None:
        return {}, {}
    return _of(spec, "requests"), _of(spec, "limits")


def _of(spec: PodSpec, which: str) -> dict[str, Quantity]:
    running = total(_resources(item, which) for item in spec.containers)
    return largest((running, *(_resources(item, which) for item in spec.init_containers)))


def _resources(container: Container, which: str) -> dict[str, Quantity]:
    resources = container.resources
    return amounts_of(getattr(resources, which)) if resources is not None else {}
