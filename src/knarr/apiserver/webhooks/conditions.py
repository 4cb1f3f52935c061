"""``matchConditions``: expressions in CEL that decide whether a webhook is called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from knarr.apiserver.cel import Program

MAX_UNITS: Final = 250_000
"""Of all conditions of one webhook: at most about a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; ``problem`` says why it could not be compiled."""

    name: str
    expression: str
    program: "Program | None"
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What conditions say: whether to call, and what went wrong while they were evaluated."""

    calls: bool
    problems: tuple[str, ...] = ()


def compile_condition(name: str, expression: str) -> Condition:
    """A condition ready for use."""
    # imported here: without conditions nothing of the language is loaded
    from knarr.apiserver.cel import CompileError, compile_expression
    from knarr.apiserver.cel.types import BOOL
    from knarr.apiserver.webhooks.environment import variables

    source = expression.strip()
    try:
        program = compile_expression(source, variables())
    except CompileError as error:
        return Condition(name, source, None, f"compilation failed: {error}")
    if program.kind != BOOL:
        return Condition(name, source, None, "must evaluate to bool")
    return Condition(name, source, program)


def decide(
    conditions: Sequence[Condition],
    request: Mapping[str, Any],
    document: dict[str, Any] | None,
    old: dict[str, Any] | None,
) -> Verdict:
    """Evaluate conditions; one that is false decides alone.

    Args:
        conditions: of one webhook.
        request: the AdmissionRequest without the objects.
        document: the object, None for a deletion.
        old: the stored object, None for a creation.
    """
    if not conditions:
        return Verdict(calls=True)
    from knarr.apiserver.cel import Budget, EvalError, OutOfBudget
    from knarr.apiserver.webhooks.environment import request_value

    budget = Budget(MAX_UNITS)
    values = (document, old, request_value(request))
    problems: list[str] = []
    for condition in conditions:
        try:
            if condition.program is None:
                problems.append(condition.problem)
            elif condition.program.evaluate(values, budget) is False:
                return Verdict(calls=False)
        except EvalError as error:
            problems.append(f"expression '{condition.expression}' resulted in error: {error}")
        except OutOfBudget:
            problems.append(
                "validation failed due to running out of cost budget, no further validation rules "
                "will be run"
            )
            break
    return Verdict(calls=True, problems=tuple(problems))
