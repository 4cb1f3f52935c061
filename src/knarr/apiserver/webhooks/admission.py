"""Webhooks as the writer and the deleter use them: typed objects in, typed objects out."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from knarr.apiserver.admission import Case
from knarr.apiserver.request import ApiRequest
from knarr.apiserver.served import Served
from knarr.apiserver.webhooks.conditions import compile_condition
from knarr.apiserver.webhooks.dispatch import Webhooks
from knarr.apiserver.webhooks.subject import Document, ReviewSubject
from knarr.meta.errors import BadRequest, StatusError
from knarr.meta.fielderrors import FieldError, causes_of
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.admissionregistration.webhook import ValidatingWebhook
from knarr.resources.fielderrors import invalid

# What the server alone writes, whatever a webhook says.
_OWNED = (
    "uid", "resource_version", "generation", "creation_timestamp", "deletion_timestamp",
    "deletion_grace_period_seconds", "managed_fields", "self_link",
)  # fmt: skip


class WebhookAdmission:
    """``knarr.apiserver.admission.Hooks`` over webhooks."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def concerned(self, case: Case) -> bool:
        """Whether anybody is to be asked about a write."""
        return self._webhooks.concerned(
            case.served.kind, case.key.namespace, case.admission.operation, case.subresource
        )

    async def mutate(self, case: Case, subject: Any) -> tuple[Any, list[str]]:
        """The object as the webhooks want it, and their warnings.

        Raises:
            StatusError: one refused, could not be asked, or left something that is no object.
        """
        review = _review(case, subject)
        document, warnings = await self._webhooks.mutate(review)
        if document is None or document is review.document:
            return subject, warnings
        return _object(case, subject, document), warnings

    async def validate(self, case: Case, subject: Any) -> list[str]:
        """The warnings of webhooks that agree.

        Raises:
            StatusError: one refused, or could not be asked.
        """
        return await self._webhooks.validate(_review(case, subject))

    async def delete(
        self,
        served: Served,
        key: Key,
        old: Any,
        request: ApiRequest,
        options: Mapping[str, Any],
    ) -> list[str] | None:
        """Ask about a deletion: the warnings of those that agree; None when nobody is concerned.

        Args:
            served: the kind.
            key: of the object.
            old: the stored object.
            request: who asks.
            options: ``DeleteOptions``.

        Raises:
            StatusError: one refused, or could not be asked.
        """
        if not self._webhooks.concerned(served.kind, key.namespace, "DELETE", ""):
            return None
        review = ReviewSubject(
            kind=served.kind,
            namespace=key.namespace,
            name=key.name,
            operation="DELETE",
            subresource="",
            document=None,
            old=served.codec.document(old),
            user=request.user,
            dry_run=bool(options.get("dryRun")),
            options={"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", **options},
        )
        _, warnings = await self._webhooks.mutate(review)
        return [*warnings, *await self._webhooks.validate(review)]


def _review(case: Case, subject: Any) -> ReviewSubject:
    codec = case.served.codec
    return ReviewSubject(
        kind=case.served.kind,
        namespace=case.key.namespace,
        name=case.key.name,
        operation=case.admission.operation,
        subresource=case.subresource,
        document=codec.document(subject),
        old=None if case.old is None else codec.document(case.old),
        user=case.request.user,
        dry_run=case.request.dry_run,
        options=_options(case),
        complete=lambda document: codec.document(_completed(case, subject, document)),
    )


def _options(case: Case) -> dict[str, Any]:
    request = case.request
    names = {"POST": "CreateOptions", "PATCH": "PatchOptions"}
    options: dict[str, Any] = {
        "kind": names.get(request.method, "UpdateOptions"),
        "apiVersion": "meta.k8s.io/v1",
    }
    if request.dry_run:
        options["dryRun"] = ["All"]
    for name in ("fieldManager", "fieldValidation"):
        if request.text(name):
            options[name] = request.text(name)
    if request.method == "PATCH" and request.text("force"):
        options["force"] = request.flag("force")
    return options


def _completed(case: Case, subject: Any, document: Document) -> Any:
    """A changed document as an object, with the defaults of what is new in it."""
    changed = _object(case, subject, document)
    if case.served.kind.default is None or case.served.kind.webhook or case.subresource:
        return changed
    return case.served.kind.default(changed, case.admission)


def _object(case: Case, subject: Any, document: Document) -> Any:
    """A changed document as an object; what the server owns stays as it was."""
    served = case.served
    if served.custom is not None:
        admitted = served.custom.admit(document)
        if admitted.errors:
            raise served.invalid(case.key.name, causes_of(admitted.errors))
        document = admitted.document
    try:
        changed = served.codec.convert(document)
    except msgspec.ValidationError as error:
        text = f"a webhook left an object that cannot be read: {error}"
        raise StatusError(f"Internal error occurred: {text}") from None
    before: ObjectMeta = subject.metadata
    metadata: ObjectMeta = changed.metadata
    for what, mine, theirs in (
        ("name", before.name, metadata.name),
        ("namespace", before.namespace, metadata.namespace),
    ):
        if mine != theirs:
            raise BadRequest(
                f"the {what} of the object ({theirs}) does not match the {what} on the URL ({mine})"
            )
    kept = {name: getattr(before, name) for name in _OWNED}
    changed = replace(
        changed,
        api_version=subject.api_version,
        kind=subject.kind,
        metadata=replace(metadata, **kept),
    )
    if case.subresource == "status":
        return served.codec.with_status_of(subject, changed)
    return served.codec.with_status_of(changed, subject) if served.stores_status else changed


class ConditionRules:
    """Refuses webhook configurations whose ``matchConditions`` cannot be evaluated."""

    def allocate(self, subject: Any, old: Any | None = None) -> tuple[Any, tuple[FieldError, ...]]:
        """The configuration as it is, and what is wrong with its expressions."""
        errors: list[FieldError] = []
        known = _expressions(old)
        for index, webhook in enumerate(subject.webhooks):
            for place, condition in enumerate(webhook.match_conditions):
                source = condition.expression.strip()
                if not source or source in known:
                    continue
                problem = compile_condition(condition.name, source).problem
                if problem:
                    path = f"webhooks[{index}].matchConditions[{place}].expression"
                    errors.append(invalid(path, source, problem))
        return subject, tuple(errors)


def _expressions(configuration: Any | None) -> frozenset[str]:
    webhooks: tuple[ValidatingWebhook, ...] = configuration.webhooks if configuration else ()
    return frozenset(
        each.expression.strip() for webhook in webhooks for each in webhook.match_conditions
    )
