"""The annotation in which ``kubectl apply`` without ``--server-side`` keeps its last configuration.

When the manager ``kubectl`` takes over with server-side apply, what that annotation still describes
correctly is no conflict; afterwards the annotation follows, so that the user can go back.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from knarr.apiserver.fieldmanagement.documents import compare, field_set
from knarr.apiserver.fieldmanagement.elements import MergeProblem
from knarr.apiserver.fieldmanagement.fieldset import EMPTY, FieldSet
from knarr.apiserver.fieldmanagement.schema import MergeSchema

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_ANNOTATIONS_BYTES = 256 << 10


def _annotations(document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return annotations if isinstance(annotations, Mapping) else {}


def allowed_conflicts(live: Mapping[str, Any], api_version: str, schema: MergeSchema) -> FieldSet:
    """The fields that the annotation describes as they are: kubectl's, whoever owns them."""
    text = _annotations(live).get(ANNOTATION)
    if not isinstance(text, str) or not text:
        return EMPTY
    try:
        last = json.loads(text)
        if not isinstance(last, dict) or last.get("apiVersion") != api_version:
            return EMPTY
        fields = field_set(last, schema)
        change = compare(last, live, schema)
    except (ValueError, RecursionError, MergeProblem):
        return EMPTY
    return fields - change.modified - change.added - change.removed


def with_last_applied(document: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the annotation brought up to date, if it has one."""
    annotations = _annotations(document)
    if not annotations.get(ANNOTATION):
        return document
    text = _encoded(config)
    if annotations[ANNOTATION] == text:
        return document
    changed = {**annotations, ANNOTATION: text}
    size = sum(
        len(str(name).encode()) + len(str(value).encode()) for name, value in changed.items()
    )
    if size > _MAX_ANNOTATIONS_BYTES:
        del changed[ANNOTATION]
    return {**document, "metadata": {**document["metadata"], "annotations": changed}}


def _encoded(config: Mapping[str, Any]) -> str:
    annotations = dict(_annotations(config))
    annotations.pop(ANNOTATION, None)
    sent = dict(config)
    if "annotations" in (config.get("metadata") or {}):
        sent["metadata"] = {**config["metadata"], "annotations": annotations}
        if not annotations:
            del sent["metadata"]["annotations"]
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"
