"""What every Knative kind's status has in common (``knative.dev/pkg/apis/duck/v1``)."""

from collections.abc import Mapping

from knarr.meta.conditions import Condition
from knarr.meta.objects import Struct


class Status(Struct, frozen=True, kw_only=True):
    """``duckv1.Status``: what a controller reports about the generation it has seen."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    annotations: Mapping[str, str] | None = None


class Addressable(Struct, frozen=True, kw_only=True):
    """``duckv1.Addressable``: where requests for an object go inside the platform."""

    name: str | None = None
    url: str = ""
    audience: str | None = None
