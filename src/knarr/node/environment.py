"""A container's environment and command line, as Kubernetes composes them. Pure.

Source: Kubernetes ``third_party/forked/golang/expansion``, ``pkg/kubelet/container/helpers.go``:
``$(NAME)`` is replaced when NAME is defined before, ``$$`` is a dollar sign, everything else stays.
"""

import re
from collections.abc import Mapping, Sequence

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_VARIABLE_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable; unknown names stay as written."""

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        return variables.get(name, match[0])

    return _REFERENCE.sub(replace, text)


def valid_variable_name(name: str) -> bool:
    """Whether a ConfigMap's key can be a variable's name."""
    return _VARIABLE_NAME.fullmatch(name) is not None


def compose_environment(
    image: Sequence[str], declared: Sequence[tuple[str, str]], defaults: Mapping[str, str]
) -> dict[str, str]:
    """The variables of a process, later ones winning.

    Args:
        image: ``NAME=value`` entries of the image.
        declared: the container's variables in order, values not expanded yet.
        defaults: what applies when neither names it (``PATH``, ``HOME``, ``HOSTNAME``).
    """
    result = dict(defaults)
    for entry in image:
        name, separator, value = entry.partition("=")
        if separator:
            result[name] = value
    known: dict[str, str] = {}
    for name, value in declared:
        known[name] = expand(value, known)
    result.update(known)
    return result


def compose_arguments(
    command: Sequence[str],
    args: Sequence[str],
    entrypoint: Sequence[str],
    image_command: Sequence[str],
    variables: Mapping[str, str],
) -> tuple[str, ...]:
    """The command line: ``command`` replaces the entrypoint and drops the image's arguments."""
    expanded_command = [expand(part, variables) for part in command]
    expanded_args = [expand(part, variables) for part in args]
    if expanded_command:
        return (*expanded_command, *expanded_args)
    return (*entrypoint, *(expanded_args or image_command))
