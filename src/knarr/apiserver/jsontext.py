"""Text to documents, strictly: one grammar, no repair, bounded depth.

JSON is RFC 8259 in UTF-8 without duplicate keys; YAML is the JSON-compatible part of YAML 1.1 as
Kubernetes reads it, one document, without tags, with few aliases and without duplicate keys.
"""

import json
import math
import re
from typing import Any

import msgspec

from knarr.meta.errors import BadRequest, TooLarge

MAX_DEPTH = 64
MAX_OBJECTS = 20_000
MAX_VALUES = 100_000
_MAX_ALIASES = 64
_MAX_NODES = 100_000
_INT64 = range(-(1 << 63), 1 << 63)
_CONTAINERS = (dict, list)
_KEY_END = re.compile(rb'"[ \t\r\n]*:')
_LONG_NUMBER = re.compile(rb"[0-9]{18}")


def parse_json(text: bytes) -> Any:
    """A JSON text's value.

    Raises:
        BadRequest: malformed, not UTF-8, a duplicate key, or nested too deeply.
        TooLarge: it has too many parts.
    """
    try:
        value = msgspec.json.decode(text)
        if _is_plain(text, value):
            return value
        value = json.loads(
            text.decode(),
            object_pairs_hook=_unique_object,
            parse_int=_parse_int,
            parse_constant=_refuse_constant,
        )
    except _DuplicateKey as error:
        raise BadRequest(f"the body is not valid JSON: duplicate field {error.args[0]!r}") from None
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not valid UTF-8 at byte {error.start}") from None
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    return value


class _DuplicateKey(ValueError):
    pass


class _YamlProblem(ValueError):
    pass


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        raise _DuplicateKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]  # set.add is falsy on purpose
    return result


def _parse_int(text: str) -> int | float:
    if len(text) > 400:
        raise ValueError("a number has more than 400 digits")
    return _number(int(text))


def _number(number: int) -> int | float:
    """An integer, or the nearest float when 64 bits do not hold it, as Go reads it."""
    if number in _INT64:
        return number
    try:
        return float(number)
    except OverflowError:
        raise ValueError("a number is out of range") from None


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON value")


def _too_deep() -> BadRequest:
    return BadRequest(f"the body is nested more than {MAX_DEPTH} levels deep")


def too_many() -> TooLarge:
    """The refusal of a document of more parts than an object can have."""
    return TooLarge(
        f"the body has too many parts: the limit is {MAX_OBJECTS} objects and arrays that hold "
        f"{MAX_VALUES} values"
    )


def _is_plain(text: bytes, value: Any) -> bool:
    """Whether a decoded text surely has no duplicate keys and no number beyond 64 bits.

    Each key of the text ends with a quote and a colon; when there are no more of these than keys in the
    value, none was lost.

    Raises:
        BadRequest: nested too deeply.
    """
    keys = _count_keys(value)
    return keys == len(_KEY_END.findall(text)) and _LONG_NUMBER.search(text) is None


def _count_keys(value: Any) -> int:
    """How many keys the objects in a value have together.

    Raises:
        BadRequest: nested too deeply.
        TooLarge: too many parts: what one costs later is far more than its bytes.
    """
    keys = objects = values = 0
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return keys
        objects += len(level)
        values += sum(map(len, level))
        if objects > MAX_OBJECTS or values > MAX_VALUES:
            raise too_many()
        inner: list[Any] = []
        for item in level:
            if type(item) is dict:
                keys += len(item)
                inner += [each for each in item.values() if type(each) in _CONTAINERS]
            else:
                inner += [each for each in item if type(each) in _CONTAINERS]
        level = inner
    raise _too_deep()


def parse_yaml(text: bytes) -> Any:
    """A YAML text's value; JSON is YAML.

    Raises:
        BadRequest: malformed, several documents, a tag, a duplicate key, too many aliases, or
            nested too deeply.
        TooLarge: it has too many parts.
    """
    import yaml

    try:
        node = _compose(text.decode(), yaml)
        value = _Builder(yaml).build(node, 0) if node is not None else None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not valid UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None
    except (yaml.YAMLError, ValueError) as error:
        message = " ".join(str(error).split())
        raise BadRequest(f"the body is not valid YAML: {message}") from None
    _count_keys(value)
    return value


def _compose(text: str, yaml: Any) -> Any:
    loader_type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    aliases = nodes = depth = 0
    for event in yaml.parse(text, Loader=loader_type):
        nodes += isinstance(event, yaml.NodeEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if nodes > _MAX_NODES:
            raise too_many()
        if aliases > _MAX_ALIASES:
            raise ValueError(f"more than {_MAX_ALIASES} aliases")
        if depth > MAX_DEPTH:
            raise _too_deep()
    loader = loader_type(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


_BOOL = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_INT_FORMS = (
    (re.compile(r"[-+]?(0|[1-9][0-9_]*)"), 10),
    (re.compile(r"[-+]?0[0-7_]+"), 8),
    (re.compile(r"[-+]?0o[0-7_]+"), 8),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+"), 16),
    (re.compile(r"[-+]?0b[01_]+"), 2),
)
_LATER_NUMBER = re.compile(r"[-+]?([0-9][0-9_]*[eE][-+]?[0-9]+|0o[0-7_]+)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)([eE][-+]?[0-9]+)?")


class _Builder:
    """Turns a node graph into values with a budget, so that aliases cannot multiply."""

    def __init__(self, yaml: Any) -> None:
        self._yaml = yaml
        self._nodes = 0

    def build(self, node: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > MAX_DEPTH:
            raise ValueError("too large after its aliases are expanded")
        if isinstance(node, self._yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, self._yaml.SequenceNode):
            self._check_tag(node, "tag:yaml.org,2002:seq")
            return [self.build(item, depth + 1) for item in node.value]
        self._check_tag(node, "tag:yaml.org,2002:map")
        return self._mapping(node, depth)

    def _mapping(self, node: Any, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge" and merged is None:
                merged = self._merged(value_node, depth)
                continue
            key = self.build(key_node, depth + 1)
            name = _key_text(key, key_node.start_mark.line + 1)
            if name in result:
                raise ValueError(f"duplicate field {name!r}, line {key_node.start_mark.line + 1}")
            result[name] = self.build(value_node, depth + 1)
        if merged is None:
            return result
        if "<<" in result:
            raise _YamlProblem(f"duplicate field '<<', line {node.start_mark.line + 1}")
        return merged | result

    def _merged(self, node: Any, depth: int) -> dict[str, Any]:
        """What ``<<`` brings in: earlier maps win over later ones, and what is written out over all."""
        merged: dict[str, Any] = {}
        for source in node.value if isinstance(node, self._yaml.SequenceNode) else [node]:
            if not isinstance(source, self._yaml.MappingNode):
                raise _YamlProblem(f"only maps can be merged, line {source.start_mark.line + 1}")
            for name, value in self.build(source, depth + 1).items():
                merged.setdefault(name, value)
        return merged

    @staticmethod
    def _check_tag(node: Any, expected: str) -> None:
        if node.tag != expected:
            raise ValueError(f"tag {node.tag!r} is not allowed, line {node.start_mark.line + 1}")

    @staticmethod
    def _scalar(node: Any) -> Any:
        text: str = node.value
        if node.style in ("'", '"', "|", ">"):
            return text
        # The resolver calls 1e3 and 0o17 texts; Kubernetes' YAML calls them numbers.
        if node.tag == "tag:yaml.org,2002:str" and not _LATER_NUMBER.fullmatch(text):
            return text
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise ValueError(f"tag {node.tag!r} is not allowed, line {node.start_mark.line + 1}")
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in _BOOL:
            return _BOOL[text]
        return _number_or_text(text)


def _key_text(key: Any, line: int) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, dict | list):
        raise _YamlProblem(f"a key is not a scalar, line {line}")
    return json.dumps(key)


def _number_or_text(text: str) -> Any:
    for form, base in _INT_FORMS:
        if form.fullmatch(text):
            return _number(int(text.replace("_", "").replace("0o", ""), base))
    if _FLOAT.fullmatch(text):
        real = float(text.replace("_", ""))
        if math.isinf(real):
            raise ValueError(f"the number {text} is out of range")
        return real
    if text.lstrip("+-").lower() in (".inf", ".nan"):
        raise ValueError(f"{text} is not a JSON value")
    return text
