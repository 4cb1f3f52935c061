"""What may differ between two servers is made equal here; what then still differs is a difference."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.reference.rawclient import Answer

HEADERS = ("content-type", "warning", "retry-after", "location", "vary", "allow")
ABSENT = "(absent)"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(?:Z|\+00:00)")
_AGE = re.compile(r"^(\d+[smhd])+$")
_CLUSTER_IP = re.compile(r"10\.96\.\d+\.\d+")
_NODE_PORT = re.compile(r"\b3[0-2]\d{3}\b")
_QUOTED_VERSION = re.compile(r'(resourceVersion\\*":\\*")\d+')
_RECORD = re.compile(r"(in record \()\d+(\))")
_CURRENT = re.compile(r"(Too large resource version: \d+, current: )\d+")
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
_TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}")
_SUFFIX = re.compile(r"[bcdfghjklmnpqrstvwxz2456789]{5}")


@dataclass
class Normaliser:
    """Replaces what a server makes up by numbers in the order of appearance, per scenario and server.

    Two values that are equal stay equal, and two that differ stay different: a write that changes nothing
    must show the same resourceVersion again.
    """

    uids: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    listed: bool = False

    def answer(self, answer: Answer) -> dict[str, Any]:
        """A comparable form of an answer."""
        document = answer.document
        if document is None:
            body: Any = self._text(answer.body.decode("utf-8", "replace"))
        else:
            self._learn(document)
            self.listed = isinstance(document, dict) and bool({"items", "rows"} & document.keys())
            body = self._value(document, ())
        headers: dict[str, Any] = {}
        for name in HEADERS:
            values = answer.header(name)
            if values:
                headers[name] = sorted(self._text(value).replace("; ", ";") for value in values)
        return {"status": answer.status, "headers": headers, "body": body}

    def _learn(self, value: Any) -> None:
        """Note the names that were generated."""
        if isinstance(value, list):
            for item in value:
                self._learn(item)
        elif isinstance(value, dict):
            prefix, name = value.get("generateName"), value.get("name")
            if prefix and isinstance(name, str) and _SUFFIX.fullmatch(name.removeprefix(prefix)):
                self.names[name] = f"{prefix}<5>"
            for item in value.values():
                self._learn(item)

    def _value(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self._value(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, (*path, "[]")) for item in value]
        if isinstance(value, str):
            return self._string(value, path)
        if isinstance(value, int) and path[-1:] in (("nodePort",), ("healthCheckNodePort",)):
            return "<port>"
        return value

    def _string(self, text: str, path: tuple[str, ...]) -> str:
        if path[-1:] == ("resourceVersion",) and text.isdigit():
            # The version of a list moves with every write to the store, whoever makes it.
            if self.listed and path == ("metadata", "resourceVersion"):
                return "<rv>"
            return self.versions.setdefault(text, f"<rv{len(self.versions)}>")
        if path[-1:] == ("continue",) and text:
            return "<continue>"
        if "cells" in path and _AGE.match(text):
            return "<age>"
        return self._text(text)

    def _text(self, text: str) -> str:
        text = _UUID.sub(self._uid, text)
        text = _TIME.sub(_time, text)
        text = _CURRENT.sub(r"\1<rv>", text)
        text = _QUOTED_VERSION.sub(r"\1<rv>", text)
        text = _RECORD.sub(r"\1<rv>\2", text)
        text = _CLUSTER_IP.sub("<ip>", text)
        text = _TOKEN.sub("<token>", text)
        text = _TOKEN_VOLUME.sub("kube-api-access-<5>", text)
        for name, generated in self.names.items():
            text = text.replace(name, generated)
        return text

    def _uid(self, found: re.Match[str]) -> str:
        return self.uids.setdefault(found[0], f"<uid{len(self.uids)}>")


def _time(found: re.Match[str]) -> str:
    """Times near now are the server's; others were sent and must come back as they are."""
    text = found[0]
    moment = dt.datetime.fromisoformat(text)
    if abs((moment - dt.datetime.now(dt.UTC)).total_seconds()) > 2 * 86_400:
        return text
    return "<microtime>" if found[1] else "<time>"


@dataclass(frozen=True)
class Difference:
    """One place where the two answers differ."""

    path: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return (
            f"{self.path}\n      ours      {_show(self.ours)}\n      reference {_show(self.theirs)}"
        )


def _show(value: Any) -> str:
    text = value if value == ABSENT else json.dumps(value, sort_keys=True)
    return text if len(text) <= 700 else text[:697] + "..."


def answer_differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[Difference]:
    """Where two answers differ; of a success and a failure only what they say."""
    if ours["status"] // 100 == theirs["status"] // 100:
        yield from differences(ours, theirs)
    else:
        yield Difference("outcome", _brief(ours), _brief(theirs))


def _brief(answer: dict[str, Any]) -> str:
    body = answer["body"]
    if isinstance(body, dict) and body.get("kind") == "Status":
        return f"{answer['status']} {body.get('reason')} {body.get('message')}"
    return f"{answer['status']} {json.dumps(body, sort_keys=True)}"


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[Difference]:
    """Where two documents differ, at the highest place that shows it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            where = f"{path}.{key}" if path else key
            yield from differences(ours.get(key, ABSENT), theirs.get(key, ABSENT), where)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif type(ours) is not type(theirs) or ours != theirs:
        yield Difference(path, ours, theirs)
