"""The part of Go's ``text/template`` that Knative's ConfigMaps use.

Fields (``{{.Name}}``, ``{{.Labels.app}}``), ``{{index .Annotations "key"}}``, ``{{if X}}…{{else}}…{{end}}``
and ``-`` trimming. Anything else is refused when the template is parsed, not when it is rendered.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TAG = re.compile(r"\{\{(?P<left>-\s)?\s*(?P<body>.*?)\s*(?P<right>\s-)?\}\}", re.DOTALL)
_FIELD = re.compile(r"(\.[A-Za-z_][A-Za-z0-9_]*)+")
_INDEX = re.compile(r'index\s+(?P<field>(?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s+"(?P<key>[^"]*)"')


class TemplateError(ValueError):
    """A template that cannot be parsed or rendered; the text names the part."""


@dataclass(frozen=True, slots=True)
class _Value:
    path: tuple[str, ...]
    key: str | None = None

    def read(self, data: Mapping[str, Any]) -> Any:
        found: Any = data
        for index, name in enumerate(self.path):
            if not isinstance(found, Mapping):
                raise TemplateError(f"can't evaluate field {name}")
            if index == 0 and name not in found:
                raise TemplateError(f"can't evaluate field {name}")
            found = found.get(name, "")
        if self.key is None:
            return found
        return found.get(self.key, "") if isinstance(found, Mapping) else ""


@dataclass(frozen=True, slots=True)
class _If:
    condition: _Value
    then: tuple["_Node", ...]
    otherwise: tuple["_Node", ...]


_Node = str | _Value | _If


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    source: str
    nodes: tuple[_Node, ...]

    def render(self, data: Mapping[str, Any]) -> str:
        """The text for one set of values.

        Raises:
            TemplateError: the template names a field that ``data`` lacks.
        """
        return _render(self.nodes, data)


def _render(nodes: Sequence[_Node], data: Mapping[str, Any]) -> str:
    parts = []
    for node in nodes:
        match node:
            case str():
                parts.append(node)
            case _Value():
                parts.append(str(node.read(data)))
            case _If():
                branch = node.then if node.condition.read(data) else node.otherwise
                parts.append(_render(branch, data))
    return "".join(parts)


def parse_template(source: str) -> Template:
    """Parse a template.

    Raises:
        TemplateError: it is malformed or uses what is not supported.
    """
    tokens = _tokens(source)
    nodes, stop = _parse(tokens, top=True)
    if stop:
        raise TemplateError(f"unexpected {{{{{stop}}}}}")
    return Template(source, nodes)


def _tokens(source: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    trim = False
    for match in _TAG.finditer(source):
        literal = source[position : match.start()]
        literal = literal.lstrip() if trim else literal
        tokens.append(("text", literal.rstrip() if match["left"] else literal))
        tokens.append(("tag", match["body"]))
        trim = bool(match["right"])
        position = match.end()
    rest = source[position:]
    tokens.append(("text", rest.lstrip() if trim else rest))
    if any(kind == "text" and "{{" in body for kind, body in tokens):
        raise TemplateError("unclosed action")
    return tokens[::-1]


def _parse(tokens: list[tuple[str, str]], *, top: bool) -> tuple[tuple[_Node, ...], str]:
    nodes: list[_Node] = []
    while tokens:
        kind, body = tokens.pop()
        if kind == "text":
            if body:
                nodes.append(body)
        elif body in {"else", "end"}:
            return tuple(nodes), body
        elif body.startswith("if "):
            nodes.append(_parse_if(body[3:].strip(), tokens))
        else:
            nodes.append(_parse_value(body))
    if not top:
        raise TemplateError("unexpected EOF")
    return tuple(nodes), ""


def _parse_if(condition: str, tokens: list[tuple[str, str]]) -> _If:
    then, stop = _parse(tokens, top=False)
    otherwise: tuple[_Node, ...] = ()
    if stop == "else":
        otherwise, stop = _parse(tokens, top=False)
    if stop != "end":
        raise TemplateError(f"unexpected {{{{{stop}}}}}")
    return _If(_parse_value(condition), then, otherwise)


def _parse_value(body: str) -> _Value:
    if _FIELD.fullmatch(body):
        return _Value(tuple(body[1:].split(".")))
    if match := _INDEX.fullmatch(body):
        return _Value(tuple(match["field"][1:].split(".")), match["key"])
    raise TemplateError(f"Knarr does not support this template action: {{{{{body}}}}}")
