"""What names and values of labels may look like (``apimachinery/pkg/util/validation``)."""

import re

from knarr.meta.names import dns1123_subdomain_problems

_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PART_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_NAME_PART_TEXT = f"name part {_PART_TEXT}"
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
    "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def qualified_name_problems(key: str) -> list[str]:
    """Why ``key`` is no label or annotation key (``example.com/name``); empty when it is one."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [
            f"a qualified name {_PART_TEXT} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        ]
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif prefix:
        problems += [f"prefix part {text}" for text in dns1123_subdomain_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 characters")
    if not _NAME_PART.fullmatch(name):
        problems.append(_NAME_PART_TEXT)
    return problems


def label_value_problems(value: str) -> list[str]:
    """Why ``value`` is no label value; empty when it is one."""
    problems = []
    if len(value) > 63:
        problems.append("must be no more than 63 characters")
    if value and not _NAME_PART.fullmatch(value):
        problems.append(_LABEL_VALUE_TEXT)
    return problems
