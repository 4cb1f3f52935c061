"""Conflicts between an apply and the owners of the fields it changes, in Kubernetes' words."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from knarr.apiserver.fieldmanagement.elements import render_path
from knarr.apiserver.fieldmanagement.fieldset import FieldSet
from knarr.apiserver.fieldmanagement.managers import Identity
from knarr.meta.errors import Cause, Conflict


class FieldConflict(NamedTuple):
    """A field that an apply would change and somebody else owns."""

    owner: Identity
    path: tuple[str, ...]

    @property
    def field(self) -> str:
        """The path as ``.spec.replicas``."""
        return render_path(self.path)

    @property
    def owner_text(self) -> str:
        """The owner as ``"kubectl" using apps/v1``."""
        text = json.dumps(self.owner.manager, ensure_ascii=False)
        if self.owner.subresource:
            text += f" with subresource {json.dumps(self.owner.subresource)}"
        if self.owner.operation == "Update":
            text += f" using {self.owner.api_version}"
        return text


def conflicts_of(sets: Sequence[tuple[Identity, FieldSet]]) -> Iterator[FieldConflict]:
    """One conflict per owner and path, by owner."""
    for owner, fields in sorted(sets, key=lambda pair: pair[0]):
        for path in fields.paths():
            yield FieldConflict(owner, path)


def conflict_error(conflicts: Sequence[FieldConflict]) -> Conflict:
    """The 409 that tells a client of conflicts."""
    causes = [
        Cause(
            reason="FieldManagerConflict",
            message=f"conflict with {conflict.owner_text}",
            field=conflict.field,
        )
        for conflict in conflicts
    ]
    return Conflict(_message(conflicts), causes=causes)


def _message(conflicts: Sequence[FieldConflict]) -> str:
    if len(conflicts) == 1:
        only = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {only.owner_text}: {only.field}"
    lines: list[str] = []
    last = ""
    for conflict in sorted(conflicts, key=lambda each: each.owner_text):
        if conflict.owner_text != last:
            last = conflict.owner_text
            lines.append(f"conflicts with {last}:")
        lines.append(f"- {conflict.field}")
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
