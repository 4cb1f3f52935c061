"""Server-side apply: merge a configuration, remove what its applier gave up, refuse conflicts.

The applier owns exactly what its last configuration says. A part that it owned and does not name any more
is removed unless somebody else owns it. A change to a part that somebody else owns is a conflict, unless
the applier forces it; then it owns the part alone. Behaviour: structured-merge-diff's ``merge``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from knarr.apiserver.fieldmanagement.conflicts import FieldConflict, conflicts_of
from knarr.apiserver.fieldmanagement.documents import field_set, same, with_named_fields
from knarr.apiserver.fieldmanagement.elements import MergeProblem
from knarr.apiserver.fieldmanagement.fieldset import EMPTY, FieldSet
from knarr.apiserver.fieldmanagement.lastapplied import allowed_conflicts, with_last_applied
from knarr.apiserver.fieldmanagement.managers import (
    BEFORE_FIRST_APPLY,
    Actor,
    Managed,
    Managers,
    entries_of,
    with_managers,
    without_empty,
)
from knarr.apiserver.fieldmanagement.merging import merge, remove
from knarr.apiserver.fieldmanagement.ownership import (
    STRIPPED,
    Rules,
    reconciled,
    take_over,
    without_managed_fields,
)
from knarr.apiserver.fieldmanagement.schema import MergeSchema
from knarr.apiserver.fieldmanagement.updating import decoded_or_none, update_managers
from knarr.meta.errors import BadRequest

KUBECTL = "kubectl"


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What an apply leads to.

    Attributes:
        document: the object with ``metadata.managedFields``; the live one when there are conflicts.
        managers: the same entries, decoded.
        conflicts: why nothing was applied; empty when it was (``conflict_error`` tells the client).
        changed: whether anything but ``managedFields`` differs from the live object.
    """

    document: dict[str, Any]
    managers: Managers
    conflicts: tuple[FieldConflict, ...] = ()
    changed: bool = True


def apply_configuration(
    live: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    actor: Actor,
    rules: Rules,
    *,
    force: bool = False,
) -> ApplyResult:
    """Apply a configuration to an object, or create it.

    Args:
        live: the stored document, None when there is none.
        config: the body of the request.
        actor: who applies.
        rules: of the kind.
        force: take conflicting fields from their owners.

    Raises:
        BadRequest: the configuration has ``managedFields``, another apiVersion or kind, or does not fit
            the schema.
    """
    _check(config, actor, rules)
    stored = without_managed_fields(live) if live is not None else {}
    managers = decoded_or_none(entries_of(live))
    sent = without_managed_fields(config)
    try:
        if live is not None and not managers:
            before = replace(actor, manager=BEFORE_FIRST_APPLY)
            managers = update_managers(rules.empty, stored, (), before, rules)
        result = _apply_as(stored, sent, managers, actor, rules, force=force)
    except MergeProblem as problem:
        raise BadRequest(
            f"failed to create typed patch object ({_name(config)}): {problem}"
        ) from None
    if result.conflicts and live is not None:
        return replace(result, document=dict(live))
    return result


def _check(config: Mapping[str, Any], actor: Actor, rules: Rules) -> None:
    version, kind = config.get("apiVersion"), config.get("kind")
    if version != actor.api_version or (rules.kind and kind != rules.kind):
        raise BadRequest(f"invalid object type: {version or ''}, Kind={kind or ''}")
    if entries_of(config) is not None:
        raise BadRequest("metadata.managedFields must be nil")


def _name(config: Mapping[str, Any]) -> str:
    metadata = config.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    place = f"{named.get('namespace') or ''}/{named.get('name') or ''}"
    return f"{place}; {config.get('apiVersion')}, Kind={config.get('kind')}"


def _apply_as(
    live: dict[str, Any],
    config: dict[str, Any],
    managers: Managers,
    actor: Actor,
    rules: Rules,
    *,
    force: bool,
) -> ApplyResult:
    result = apply(live, config, managers, actor, rules, force=force)
    if actor.manager != KUBECTL:
        return result
    if result.conflicts:
        # what kubectl applied on the client's side before is its own
        allowed = allowed_conflicts(live, actor.api_version, rules.schema)
        left = tuple(each for each in result.conflicts if not allowed.has(*each.path))
        if left:
            return replace(result, conflicts=left)
        result = apply(live, config, managers, actor, rules, force=True)
    document = with_last_applied(result.document, config)
    changed = result.changed or document is not result.document
    return replace(result, document=document, changed=changed)


def apply(
    live: dict[str, Any],
    config: dict[str, Any],
    managers: Managers,
    actor: Actor,
    rules: Rules,
    *,
    force: bool = False,
) -> ApplyResult:
    """The merge itself, on documents without ``managedFields``.

    Args:
        live: the stored document, empty when there is none.
        config: what is applied.
        managers: the entries before.
        actor: who applies.
        rules: of the kind.
        force: take conflicting fields from their owners.

    Raises:
        MergeProblem: a document does not fit its schema.
    """
    owned = field_set(config, rules.schema, strict=True).without(rules.ignored)
    before = reconciled(managers, rules, actor.api_version)
    entry = actor.entry("Apply", owned)
    last = next((each for each in before if each.identity == entry.identity), None)
    others = tuple(each for each in before if each.identity != entry.identity)
    merged = merge(live, config, rules.schema)
    if last is not None and last.fields:
        merged = _pruned(merged, last, (*others, entry), actor.api_version, rules)
    change = take_over(live, merged, others, actor.api_version, rules)
    if change.taken and not force:
        conflicts = tuple(conflicts_of(change.taken))
        return ApplyResult(with_managers(live, managers), managers, conflicts, changed=False)
    changed = not same(live, merged)
    entry = replace(entry, fields=owned - STRIPPED)
    if last is not None and not changed and last.fields == entry.fields:
        entry = replace(entry, time=last.time)
    after = without_empty((*change.managers, entry))
    return ApplyResult(with_managers(merged, after), after, changed=changed)


def _pruned(merged: Any, last: Managed, managers: Managers, api_version: str, rules: Rules) -> Any:
    """The merged document without what only the applier owned and does not name any more."""
    versions = rules.versions
    schema: MergeSchema | None = rules.schema
    if versions is None or last.api_version == api_version:
        return _given_up(merged, last.fields, _owned_by(managers), rules.schema)
    schema = versions.schema(last.api_version)
    if schema is None:
        return merged
    # ownership is expressed in versions; it is judged in that of the last apply
    there = versions.convert(merged, last.api_version)
    kept = _given_up(there, last.fields, _owned_in(managers, last.api_version), schema)
    result = versions.convert(kept, api_version)
    for version in {each.api_version for each in managers} - {last.api_version}:
        result = _with_owned(merged, result, managers, version, api_version, rules)
    return result


def _owned_by(managers: Managers) -> FieldSet:
    owned = EMPTY
    for managed in managers:
        owned |= managed.fields
    return owned


def _owned_in(managers: Managers, version: str) -> FieldSet:
    return _owned_by(tuple(each for each in managers if each.api_version == version))


def _given_up(merged: Any, last: FieldSet, owned: FieldSet, schema: MergeSchema) -> Any:
    named = with_named_fields(last, schema)
    everything = _present(merged, schema)
    left = _present(remove(merged, named, schema), schema)
    restored = remove(merged, everything - (left | with_named_fields(owned, schema)), schema)
    left = _present(restored, schema)
    # what the applier never owned stays, owned or not
    return remove(merged, (everything - left) & named, schema)


def _present(document: Any, schema: MergeSchema) -> FieldSet:
    return with_named_fields(field_set(document, schema, empty_lists=True), schema)


def _with_owned(
    merged: Any, pruned: Any, managers: Managers, version: str, api_version: str, rules: Rules
) -> Any:
    """The pruned document with what somebody owns in another version."""
    versions = rules.versions
    schema = versions.schema(version) if versions is not None else None
    if versions is None or schema is None:
        return pruned
    whole = versions.convert(merged, version)
    there = versions.convert(pruned, version)
    owned = with_named_fields(_owned_in(managers, version), schema)
    gone = _present(whole, schema) - (_present(there, schema) | owned)
    return versions.convert(remove(whole, gone, schema), api_version)
