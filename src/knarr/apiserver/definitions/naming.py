"""Which names a definition gets, and when it is served; pure.

A name belongs to whoever was given it first. Semantics and texts: ``apiextensions-apiserver``'s
``controller/status`` and ``controller/establish``.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from knarr.apiserver.definitions.approval import approval_condition
from knarr.meta.objects import Struct
from knarr.resources.apiextensions.customresourcedefinition import (
    ESTABLISHED,
    NAMES_ACCEPTED,
    CustomResourceDefinition,
    CustomResourceDefinitionStatus,
    Names,
    condition_of,
    with_condition,
)
from knarr.resources.core.references import Condition


class Claims(Struct, frozen=True, kw_only=True):
    """The names that a definition has: of its resource and of its kind."""

    resources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


def claims_of(names: Names | None) -> Claims:
    """What accepted names claim."""
    if names is None:
        return Claims()
    resources = (names.plural, names.singular, *(names.short_names or ()))
    kinds = (names.kind, names.list_kind)
    return Claims(
        resources=tuple(each for each in resources if each),
        kinds=tuple(each for each in kinds if each),
    )


@dataclass(slots=True)
class _Problem:
    """The last conflict found, which is the one that is reported."""

    reason: str = ""
    message: str = ""


@dataclass(slots=True)
class _Choice:
    resources: Collection[str]
    kinds: Collection[str]
    problem: _Problem = field(default_factory=_Problem)

    def one(self, wanted: str | None, present: str | None, what: str) -> str | None:
        """A name as it will be: the wanted one unless someone else has it."""
        used = self.kinds if what.endswith("Kind") else self.resources
        if wanted == present or wanted not in used:
            return wanted
        self.problem = _Problem(f"{what}Conflict", f'"{wanted}" is already in use')
        return present

    def several(
        self, wanted: tuple[str, ...] | None, present: tuple[str, ...] | None
    ) -> tuple[str, ...] | None:
        """Short names as they will be: all that are wanted, or those that are there."""
        own = present or ()
        taken = [each for each in wanted or () if each not in own and each in self.resources]
        if not taken:
            return wanted
        texts = [f'"{each}" is already in use' for each in taken]
        message = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        self.problem = _Problem("ShortNamesConflict", message)
        return present


def plan_names(
    definition: CustomResourceDefinition, others: Iterable[Claims], now: str
) -> CustomResourceDefinitionStatus:
    """The status of a definition: the names that it gets, and whether it is served.

    Args:
        definition: completed.
        others: what the other definitions of its group have.
        now: RFC 3339.
    """
    status = definition.status or CustomResourceDefinitionStatus()
    wanted = (definition.spec.names if definition.spec is not None else None) or Names()
    present = status.accepted_names or Names()
    claims = tuple(others)
    choice = _Choice(
        {name for each in claims for name in each.resources},
        {name for each in claims for name in each.kinds},
    )
    accepted = Names(
        plural=choice.one(wanted.plural, present.plural, "Plural"),
        singular=choice.one(wanted.singular, present.singular, "Singular"),
        short_names=choice.several(wanted.short_names, present.short_names),
        kind=choice.one(wanted.kind, present.kind, "Kind"),
        list_kind=choice.one(wanted.list_kind, present.list_kind, "ListKind"),
        categories=wanted.categories,
    )
    problem = choice.problem
    status = replace(status, accepted_names=accepted)
    status = with_condition(
        status,
        Condition(
            type=NAMES_ACCEPTED,
            status="False" if problem.reason else "True",
            reason=problem.reason or "NoConflicts",
            message=problem.message or "no conflicts found",
        ),
        now,
    )
    status = _established(definition, status, now, conflict=bool(problem.reason))
    approval = approval_condition(definition)
    return with_condition(status, approval, now) if approval is not None else status


def _established(
    definition: CustomResourceDefinition,
    status: CustomResourceDefinitionStatus,
    now: str,
    *,
    conflict: bool,
) -> CustomResourceDefinitionStatus:
    """Once served, always served: a later conflict only keeps the new names from it."""
    old = condition_of(definition, ESTABLISHED)
    if old is not None and old.status == "True":
        return status
    new = Condition(
        type=ESTABLISHED,
        status="True",
        reason="InitialNamesAccepted",
        message="the initial names have been accepted",
    )
    if conflict:
        new = Condition(
            type=ESTABLISHED,
            status="False",
            reason="NotAccepted",
            message="not all names are accepted",
        )
    return with_condition(status, new, now)
