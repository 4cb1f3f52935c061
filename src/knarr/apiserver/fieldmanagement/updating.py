"""Ownership after a write that is no apply: create, PUT and the patches other than apply.

Whoever changes a field owns it from then on, alone; what a write leaves as it was stays with its owners.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from knarr.apiserver.fieldmanagement.documents import compare, everything_in, same
from knarr.apiserver.fieldmanagement.elements import MergeProblem
from knarr.apiserver.fieldmanagement.managers import (
    MAX_UPDATE_MANAGERS,
    Actor,
    Managed,
    Managers,
    capped,
    decode_managers,
    encode_managers,
    entries_of,
    with_managers,
)
from knarr.apiserver.fieldmanagement.ownership import (
    STRIPPED,
    Rules,
    reconciled,
    take_over,
    without_managed_fields,
)
from knarr.apiserver.fieldmanagement.untouched import in_stored_order, split


def update_managers(
    live: Mapping[str, Any], new: Mapping[str, Any], managers: Managers, actor: Actor, rules: Rules
) -> Managers:
    """The entries after an update.

    Args:
        live: the stored document; ``rules.empty`` for a new object.
        new: the document that will be stored, defaults included.
        managers: the entries before.
        actor: who writes.
        rules: of the kind.

    Raises:
        MergeProblem: a document does not fit its schema.
    """
    before = reconciled(managers, rules, actor.api_version)
    change = take_over(live, new, before, actor.api_version, rules)
    seen = change.comparison
    own = (seen.added | seen.modified).without(rules.ignored) - STRIPPED
    if not own:
        return capped(change.managers)
    return capped(_with_own(change.managers, actor.entry("Update", own)))


def track_update(
    live: Mapping[str, Any] | None, new: Mapping[str, Any], actor: Actor, rules: Rules
) -> dict[str, Any]:
    """The new document with its ``metadata.managedFields`` brought up to date.

    A client may send entries (they replace the stored ones when they are well-formed) or reset them with
    ``[]`` or ``[{}]``. An existing object without entries is not tracked before its first apply.

    Args:
        live: the stored document, None on create.
        new: the document that will be stored: call this after defaulting and before the server adds
            what nobody owns (cluster addresses, for instance).
        actor: who writes.
        rules: of the kind.
    """
    if live is None and not rules.empty and entries_of(new) is None:
        return _track_first(new, actor, rules)
    stored = entries_of(live)
    quick = _track_quickly(live, new, actor, rules) if live is not None and stored else None
    if quick is not None:
        return quick
    managers = _managers_before(live, new, actor)
    document = without_managed_fields(new)
    if live is not None and not managers:
        return document
    old = without_managed_fields(live) if live is not None else rules.empty
    try:
        managers = update_managers(old, document, managers, actor, rules)
    except MergeProblem:
        # a stored object that does not fit its schema any more must stay writable
        managers = decoded_or_none(stored)
    return with_managers(document, managers)


def _track_first(new: Mapping[str, Any], actor: Actor, rules: Rules) -> dict[str, Any]:
    """As ``track_update`` for an object that nobody had a part in before."""
    document = without_managed_fields(new)
    try:
        own = everything_in(document, rules.schema, STRIPPED | rules.ignored)
    except MergeProblem:
        return document
    return with_managers(document, (actor.entry("Update", own),) if own else ())


def _track_quickly(
    live: Mapping[str, Any], new: Mapping[str, Any], actor: Actor, rules: Rules
) -> dict[str, Any] | None:
    """As ``track_update``, decoding only entries that the write concerns; None when that is not enough.

    It is not when the client sent entries of its own, when there are so many that some are merged, or
    when ownership is expressed in several versions.
    """
    entries, sent = entries_of(live), entries_of(new)
    if not actor.subresource and sent is not None and sent != entries:
        return None
    if len(entries) >= MAX_UPDATE_MANAGERS or (
        rules.versions is not None
        and any(entry.get("apiVersion") != actor.api_version for entry in entries)
    ):
        return None
    document, old = without_managed_fields(new), without_managed_fields(live)
    try:
        seen = compare(old, document, rules.schema).without(rules.ignored)
        changed = seen.added | seen.modified
        parts = split(entries, (changed | seen.removed) - STRIPPED, actor)
        managers = decoded_or_none(parts.concerned)
        if len(managers) != len(parts.concerned):
            return None
        after = tuple(
            replace(each, fields=rest)
            for each in reconciled(managers, rules, actor.api_version)
            if (rest := each.fields - changed - seen.removed)
        )
    except MergeProblem:
        return None
    own = changed - STRIPPED
    if own:
        after = _with_own(after, actor.entry("Update", own))
    if not parts.concerned and not own:
        merged = entries
    else:
        merged = in_stored_order([*parts.others, *encode_managers(after)])
    return {**document, "metadata": {**document["metadata"], "managedFields": merged}}


def _with_own(managers: Managers, entry: Managed) -> Managers:
    others = tuple(each for each in managers if each.identity != entry.identity)
    for each in managers:
        if each.identity == entry.identity:
            entry = replace(entry, fields=entry.fields | each.fields)
    return (*others, entry)


def _managers_before(
    live: Mapping[str, Any] | None, new: Mapping[str, Any], actor: Actor
) -> Managers:
    stored = entries_of(live)
    if actor.subresource:
        return decoded_or_none(stored)
    sent = entries_of(new)
    if sent in ([], [{}]):
        return ()
    return decoded_or_none(sent) or decoded_or_none(stored)


def decoded_or_none(entries: Any) -> Managers:
    """The entries, or none of them when one is malformed."""
    try:
        return decode_managers(entries)
    except ValueError:
        return ()


def with_old_times(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """The old document when the new one differs only in times of ``managedFields``, else the new one.

    Called last, so that a write that changes nothing changes nothing.
    """
    if not same(without_managed_fields(old), without_managed_fields(new)):
        return new
    mine, theirs = entries_of(new), entries_of(old)
    if not isinstance(mine, list) or not isinstance(theirs, list):
        return old if not mine and not theirs else new
    return old if same(_timeless(mine), _timeless(theirs)) else new


def _timeless(entries: list[Any]) -> list[Any]:
    return [
        {name: value for name, value in entry.items() if name != "time"}
        for entry in entries
        if isinstance(entry, dict)
    ]
