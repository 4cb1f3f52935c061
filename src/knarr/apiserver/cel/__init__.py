"""Kubernetes' dialect of the Common Expression Language.

``compile_expression`` parses and checks; ``Program.evaluate`` computes within a budget. Data come in
through ``schemas.value_of`` (typed by a schema) or as JSON.
"""

from collections.abc import Mapping

from knarr.apiserver.cel.checker import check
from knarr.apiserver.cel.evaluator import Program
from knarr.apiserver.cel.parser import parse
from knarr.apiserver.cel.syntax import CompileError
from knarr.apiserver.cel.types import Type
from knarr.apiserver.cel.values import Budget, EvalError, NoOverload, OutOfBudget

__all__ = [
    "Budget",
    "CompileError",
    "EvalError",
    "NoOverload",
    "OutOfBudget",
    "Program",
    "compile_expression",
]


def compile_expression(source: str, variables: Mapping[str, Type]) -> Program:
    """An expression ready for use; values are given in the order of ``variables``.

    Raises:
        CompileError: with everything that is wrong with it.
    """
    root = parse(source)
    return Program(root, check(source, root, variables), tuple(variables))
