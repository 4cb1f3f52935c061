"""A version of a custom resource: everything that happens to its documents, in order.

On a write: ``admit`` (unknown fields, nulls, embedded metadata, defaults), then ``errors``. On a read:
``defaulted``, because defaults that came later apply to objects stored before.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from knarr.apiserver.structural.cel import Judge, judge_of, judged
from knarr.apiserver.structural.columns import PrinterColumn, parse_columns
from knarr.apiserver.structural.defaulting import apply_defaults, drop_nulls
from knarr.apiserver.structural.embedded import MetadataCheck, embedded_errors
from knarr.apiserver.structural.listtypes import list_errors
from knarr.apiserver.structural.paths import ScalePaths, scale_paths, selectable_value
from knarr.apiserver.structural.pruning import coerce_metadata, prune
from knarr.apiserver.structural.schema import PRESERVE, Schema, parse_schema
from knarr.apiserver.structural.validation import MISSING, validate
from knarr.meta.fielderrors import FieldError


class Admitted(NamedTuple):
    """A document as it may be stored.

    Attributes:
        document: pruned and with defaults.
        unknown: dotted paths of fields that were dropped, for strict and warn.
        errors: embedded metadata that cannot be read.
    """

    document: dict[str, Any]
    unknown: list[str]
    errors: tuple[FieldError, ...]


class CrdVersion:
    """One version of a CustomResourceDefinition, ready for use.

    The schema is parsed at first use: many definitions of an installation are never used, and a large
    one takes a hundred milliseconds and megabytes.

    Args:
        version: an entry of ``spec.versions`` that passed ``definition_errors``.
        check: judges the metadata of embedded resources.
        load: gives ``openAPIV3Schema``; by default it is that of ``version``, which is then kept.

    Raises:
        BadPath: the version did not pass the checks.
    """

    def __init__(
        self,
        version: Mapping[str, Any],
        check: MetadataCheck | None = None,
        load: Callable[[], Mapping[str, Any] | None] | None = None,
    ) -> None:
        document = (version.get("schema") or {}).get("openAPIV3Schema")
        self._load = load or (lambda: document)
        self._parsed: Schema | None = None
        self._judge: Judge | None = None
        self._judge_made = False
        self._check = check
        self._subresources = version.get("subresources") or {}
        self._selectable = tuple(each["jsonPath"] for each in version.get("selectableFields") or ())
        self.name: str = version["name"]
        self.columns: tuple[PrinterColumn, ...] = parse_columns(
            version.get("additionalPrinterColumns")
        )
        self.scale: ScalePaths | None = scale_paths(self._subresources)

    @property
    def document(self) -> Mapping[str, Any]:
        """The schema as it was written."""
        return self._load() or {"type": "object", PRESERVE: True}

    @property
    def schema(self) -> Schema:
        """The parsed schema.

        Raises:
            BadSchema: the version did not pass the checks.
        """
        if self._parsed is None:
            self._parsed = parse_schema(self.document)
        return self._parsed

    def _rules(self) -> Judge | None:
        """What judges by the schema's rules in CEL, compiled at first use."""
        if not self._judge_made:
            self._judge, self._judge_made = judge_of(self.document), True
        return self._judge

    @property
    def has_status(self) -> bool:
        """Whether the status is a subresource."""
        return self._subresources.get("status") is not None

    def admit(self, document: Mapping[str, Any]) -> Admitted:
        """Prepare a document for storing; metadata of the document itself is left alone."""
        pruned, unknown = prune(dict(document), self.schema)
        clean = drop_nulls(pruned, self.schema)
        coerced, more, errors = coerce_metadata(clean, self.schema)
        return Admitted(apply_defaults(coerced, self.schema), sorted(unknown + more), errors)

    def defaulted(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A stored document as it is read."""
        result: dict[str, Any] = apply_defaults(dict(document), self.schema)
        return result

    def errors(
        self, document: Mapping[str, Any], old: Mapping[str, Any] | None = None
    ) -> tuple[FieldError, ...]:
        """What is wrong with an admitted document.

        Args:
            document: the whole object.
            old: the stored one on update: what did not change is not judged again.
        """
        before = MISSING if old is None else old
        found = [*validate(document, self.schema, old=before)]
        found += self.scale.errors(document) if self.scale is not None else ()
        found += embedded_errors(document, self.schema, self._check)
        # lists that already were ambiguous do not block other changes
        if old is None or not list_errors(old, self.schema):
            found += list_errors(document, self.schema)
        return judged(self._rules(), found, document, old)

    def status_errors(
        self, document: Mapping[str, Any], old: Mapping[str, Any]
    ) -> tuple[FieldError, ...]:
        """What is wrong with the status of an object that is written through its subresource.

        Args:
            document: the whole object with its new status.
            old: the stored one.
        """
        schema = self.schema.properties.get("status")
        if schema is not None and "status" not in document:
            schema = None
        status, before = document.get("status"), old.get("status", MISSING)
        found: list[FieldError] = []
        if schema is not None:
            found += validate(status, schema, old=before, prefix="status")
        found += self.scale.status_errors(document) if self.scale is not None else ()
        if schema is not None and (before is MISSING or not list_errors(before, schema, "status")):
            found += list_errors(status, schema, "status")
        return judged(self._rules(), found, document, old)

    def selectable(self, document: Mapping[str, Any]) -> dict[str, str]:
        """The values of selectable fields by the names that selectors use: ``spec.color``."""
        return {
            path.removeprefix("."): selectable_value(document, path) for path in self._selectable
        }
