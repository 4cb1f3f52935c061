"""Which webhooks a request concerns (``apiserver/pkg/admission/plugin/webhook/predicates``)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from knarr.apiserver.webhooks.hooks import Hook
from knarr.apiserver.webhooks.subject import Document, ReviewSubject
from knarr.meta.selectors import LabelSelector
from knarr.resources.admissionregistration.webhook import RuleWithOperations
from knarr.resources.kind import Kind

Labels = Mapping[str, str]


def rule_matches(
    rule: RuleWithOperations, kind: Kind[Any], namespace: str, operation: str, subresource: str
) -> bool:
    """Whether a rule names a request.

    Args:
        rule: with its defaults.
        kind: in the version to look for.
        namespace: of the object, empty for cluster-scoped ones.
        operation: ``CREATE``, ``UPDATE`` or ``DELETE``.
        subresource: ``status``, … or empty.
    """
    return (
        _named(rule.operations, operation)
        and _named(rule.api_groups, kind.group)
        and _named(rule.api_versions, kind.version)
        and _in_scope(rule.scope, kind, namespace)
        and any(_is_resource(text, kind.plural, subresource) for text in rule.resources)
    )


def _named(values: Iterable[str], wanted: str) -> bool:
    return any(value in ("*", wanted) for value in values)


def _in_scope(scope: str | None, kind: Kind[Any], namespace: str) -> bool:
    if scope in (None, "", "*"):
        return True
    is_namespace = not kind.group and kind.plural == "namespaces"
    clustered = is_namespace or not namespace
    return clustered if scope == "Cluster" else scope == "Namespaced" and not clustered


def _is_resource(text: str, plural: str, subresource: str) -> bool:
    name, _, sub = text.partition("/")
    return name in ("*", plural) and sub in ("*", subresource)


def matched_kind(
    hook: Hook,
    kinds: Sequence[Kind[Any]],
    namespace: str,
    operation: str,
    subresource: str,
) -> Kind[Any] | None:
    """The kind in whose version a webhook is asked, None when no rule matches.

    Args:
        hook: the webhook.
        kinds: the request's kind first, then other versions of the same objects.
        namespace: of the object.
        operation: of the request.
        subresource: of the request.
    """
    place = (namespace, operation, subresource)
    if any(rule_matches(rule, kinds[0], *place) for rule in hook.rules):
        return kinds[0]
    if hook.exact:
        return None
    # earlier rules first
    for rule in hook.rules:
        for kind in kinds[1:]:
            if rule_matches(rule, kind, *place):
                return kind
    return None


def namespace_matches(
    selector: LabelSelector, review: ReviewSubject, labels_of: Callable[[str], Labels]
) -> bool:
    """Whether the namespace of a request is selected; other cluster-scoped objects always are.

    Args:
        selector: ``namespaceSelector``.
        review: the request.
        labels_of: the labels of a namespace.
    """
    if not review.namespace and not review.is_namespace:
        return True
    if not selector:
        return True
    document = review.document
    if review.is_namespace and not review.subresource and document is not None:
        return selector.matches(_labels(document))
    return selector.matches(labels_of(review.reviewed_namespace))


def object_matches(
    selector: LabelSelector, document: Document | None, old: Document | None
) -> bool:
    """Whether the new or the old object is selected."""
    if not selector:
        return True
    return any(each is not None and selector.matches(_labels(each)) for each in (document, old))


def _labels(document: Document) -> Labels:
    metadata = document.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return labels if isinstance(labels, dict) else {}
