"""What a write does to the entries of ``managedFields``: shared by updates and applies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

from knarr.apiserver.fieldmanagement.documents import Comparison, compare
from knarr.apiserver.fieldmanagement.fieldset import EMPTY, FieldSet
from knarr.apiserver.fieldmanagement.managers import Identity, Managed, Managers
from knarr.apiserver.fieldmanagement.merging import reconcile
from knarr.apiserver.fieldmanagement.schema import UNTYPED, MergeSchema

STRIPPED: Final = FieldSet.of_fields(
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
)
"""Fields that nobody owns, because they identify the object or belong to the server."""

MAIN_IGNORES: Final = FieldSet.of_fields("status")
STATUS_IGNORES: Final = FieldSet.of_fields("metadata", "spec")


class Versions(Protocol):
    """How an object looks in the other versions of its kind."""

    def schema(self, api_version: str) -> MergeSchema | None:
        """The schema of a version, None when that version is not served any more."""
        ...

    def convert(self, document: Any, api_version: str) -> Any:
        """The document in a version that is served."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What is fixed for a kind and a subresource.

    Attributes:
        schema: of the documents.
        ignored: what a write through this endpoint cannot change (``ignored_fields``).
        empty: what an object is before it has a field; parts of it are no news in a new object.
        versions: the other versions of the kind, None when all have the same schema.
        kind: when given, an applied configuration must have it.
    """

    schema: MergeSchema = UNTYPED
    ignored: FieldSet = EMPTY
    empty: Mapping[str, Any] = field(default_factory=dict)
    versions: Versions | None = None
    kind: str = ""


def ignored_fields(subresource: str, *, has_status: bool) -> FieldSet:
    """What a write through an endpoint cannot change, so that its writer does not own it."""
    if subresource == "status":
        return STATUS_IGNORES
    return MAIN_IGNORES if has_status else EMPTY


class Takeover(NamedTuple):
    """The effect of a change on the entries of the others.

    Attributes:
        comparison: in the writer's version, everything included.
        taken: what the change takes from others.
        managers: the entries after that.
    """

    comparison: Comparison
    taken: list[tuple[Identity, FieldSet]]
    managers: Managers


def take_over(old: Any, new: Any, managers: Managers, api_version: str, rules: Rules) -> Takeover:
    """Take from everybody what a change touched; whoever owns nothing any more loses the entry.

    Raises:
        MergeProblem: a document does not fit its schema.
    """
    comparison = compare(old, new, rules.schema)
    in_version = _comparisons(old, new, comparison, api_version, rules)
    taken: list[tuple[Identity, FieldSet]] = []
    result: list[Managed] = []
    for managed in managers:
        seen = in_version(managed.api_version)
        if seen is None:
            continue
        lost = managed.fields & (seen.modified | seen.added)
        if lost:
            taken.append((managed.identity, lost))
        rest = managed.fields - lost - seen.removed
        if rest:
            result.append(managed if rest is managed.fields else replace(managed, fields=rest))
    return Takeover(comparison, taken, tuple(result))


def _comparisons(
    old: Any, new: Any, comparison: Comparison, api_version: str, rules: Rules
) -> Callable[[str], Comparison | None]:
    known: dict[str, Comparison | None] = {api_version: comparison.without(rules.ignored)}

    def look_up(version: str) -> Comparison | None:
        if rules.versions is None:
            return known[api_version]
        if version not in known:
            schema = rules.versions.schema(version)
            known[version] = (
                compare(
                    rules.versions.convert(old, version),
                    rules.versions.convert(new, version),
                    schema,
                ).without(rules.ignored)
                if schema is not None
                else None
            )
        return known[version]

    return look_up


def reconciled(managers: Sequence[Managed], rules: Rules, api_version: str) -> Managers:
    """The entries as the present schemas would have written them; gone versions are dropped."""
    result = []
    for managed in managers:
        schema: MergeSchema | None = rules.schema
        if rules.versions is not None and managed.api_version != api_version:
            schema = rules.versions.schema(managed.api_version)
        if schema is None:
            continue
        fields = reconcile(managed.fields, schema)
        result.append(managed if fields is managed.fields else replace(managed, fields=fields))
    return tuple(result)


def without_managed_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without ``metadata.managedFields``."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return dict(document)
    rest = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**document, "metadata": rest}
