"""``x-kubernetes-validations``: compiled once per schema, evaluated for every write.

Sources: ``apiextensions-apiserver/pkg/apiserver/schema/cel`` (``compilation.go``, ``validation.go``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from knarr.apiserver.cel import CompileError, Program, compile_expression
from knarr.apiserver.cel.fieldpaths import normalized_path
from knarr.apiserver.cel.schemas import Shape, shape_of
from knarr.apiserver.cel.types import BOOL, STRING, Type, optional_of

VALIDATIONS: Final = "x-kubernetes-validations"
MAX_MESSAGE_BYTES: Final = 5 * 1024
Document = Mapping[str, Any]
Part = Literal["rule", "messageExpression"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready for use.

    Attributes:
        program: None when the rule could not be compiled; ``problem`` says why.
        message: shown when the rule fails, unless ``message_program`` makes one.
        reason: ``FieldValueInvalid``, …
        path: below the place of the rule, where the error is reported.
        optional_old: ``oldSelf`` is an optional value and the rule is also evaluated without one.
    """

    source: str
    program: Program | None
    problem: str = ""
    message: str = ""
    message_source: str = ""
    message_program: Program | None = None
    reason: str = ""
    path: str = ""
    optional_old: bool = False

    @property
    def uses_old(self) -> bool:
        """Whether the rule compares with the stored object."""
        return self.program is not None and "oldSelf" in self.program.used

    @property
    def shown(self) -> str:
        """What errors call the rule."""
        return self.message or self.source


@dataclass(frozen=True, slots=True)
class RuleNode:
    """The rules of one place of a schema and of what is inside it."""

    kind: str
    shape: Shape | None
    rules: tuple[Rule, ...] = ()
    fields: "Mapping[str, RuleNode]" = field(default_factory=dict)
    values: "RuleNode | None" = None
    items: "RuleNode | None" = None
    keys: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is no rule here and inside."""
        return not (self.rules or self.fields or self.values or self.items)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a rule cannot be used; ``part`` is the field that is wrong."""

    part: Part
    message: str


def rule_tree(schema: Document) -> RuleNode | None:
    """The rules of a resource's schema, None when there are none."""
    tree = _tree(schema, shape_of(schema, "self", root=True))
    return None if tree.empty else tree


def _tree(schema: Document, shape: Shape | None) -> RuleNode:
    rules = schema.get(VALIDATIONS) or ()
    fields: dict[str, RuleNode] = {}
    for name, inner in (schema.get("properties") or {}).items():
        place = shape.fields.get(name) if shape is not None else None
        if place is not None:
            node = _tree(inner, place[1])
            if not node.empty:
                fields[name] = node
    keyed = schema.get("x-kubernetes-list-type") == "map"
    return RuleNode(
        kind=str(schema.get("type") or ""),
        shape=shape,
        rules=tuple(compiled(rule, schema, shape)[0] for rule in rules),
        fields=fields,
        values=_inside(schema.get("additionalProperties"), shape),
        items=_inside(schema.get("items"), shape),
        keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()) if keyed else (),
    )


def _inside(schema: Any, shape: Shape | None) -> RuleNode | None:
    if not isinstance(schema, Mapping) or shape is None or shape.items is None:
        return None
    node = _tree(schema, shape.items)
    return None if node.empty else node


def compiled(rule: Document, schema: Document, shape: Shape | None) -> tuple[Rule, list[Flaw]]:
    """A rule and what is wrong with it.

    Args:
        rule: an entry of ``x-kubernetes-validations``.
        schema: where it stands.
        shape: of that place; without one nothing can be said of the values.
    """
    source = (rule.get("rule") or "").strip()
    message_source = (rule.get("messageExpression") or "").strip()
    optional_old = rule.get("optionalOldSelf") is True
    kind = shape.kind if shape is not None else None
    flaws: list[Flaw] = []
    program, problem = _program(source, kind, BOOL, "rule", optional_old=optional_old)
    if problem:
        flaws.append(Flaw("rule", problem))
    message_program, message_problem = None, ""
    if message_source and program is not None:
        message_program, message_problem = _program(
            message_source, kind, STRING, "messageExpression", optional_old=optional_old
        )
    if message_problem:
        flaws.append(Flaw("messageExpression", message_problem))
    result = Rule(
        source=source,
        program=program,
        problem=problem,
        message=(rule.get("message") or "").strip(),
        message_source=rule.get("messageExpression") or "",
        message_program=message_program,
        reason=rule.get("reason") or "",
        path=normalized_path(rule.get("fieldPath") or "", schema) or "",
        optional_old=optional_old,
    )
    return result, flaws


def _program(
    source: str, kind: Type | None, wanted: Type, part: Part, *, optional_old: bool
) -> tuple[Program | None, str]:
    if kind is None:
        return None, "failed to convert to declType for CEL validation rules"
    variables = {"self": kind, "oldSelf": optional_of(kind) if optional_old else kind}
    message = part == "messageExpression"
    try:
        program = compile_expression(source, variables)
    except CompileError as error:
        return None, f"{'messageExpression ' if message else ''}compilation failed: {error}"
    if program.kind == wanted:
        return program, ""
    if message:
        return None, "messageExpression must evaluate to a string"
    return None, "cel expression must evaluate to a bool"
