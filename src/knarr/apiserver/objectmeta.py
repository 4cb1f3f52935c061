"""What the server does to an object's metadata, as pure functions.

The server owns uid, creationTimestamp, resourceVersion, generation and the deletion fields; what a
client sends there is dropped or compared, never stored. What it sends of managedFields is judged where
fields are tracked.
"""

from typing import Any

import msgspec

from knarr.apiserver.request import ApiRequest
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Served
from knarr.meta.errors import BadRequest, Cause, Invalid, StatusError
from knarr.meta.objects import ObjectMeta

replace = msgspec.structs.replace

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"


def with_metadata(subject: Any, **changes: Any) -> Any:
    """The object with some metadata fields replaced."""
    return replace(subject, metadata=replace(subject.metadata, **changes))


def check_scope(metadata: ObjectMeta, namespace: str) -> None:
    """The namespace in a body must be that of the URL or absent.

    Raises:
        BadRequest: it is another one.
    """
    if metadata.namespace and metadata.namespace != namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_name(metadata: ObjectMeta, name: str) -> None:
    """The name in a body must be that of the URL or absent.

    Raises:
        BadRequest: it is another one.
    """
    if metadata.name and metadata.name != name:
        raise BadRequest(
            f"the name of the object ({metadata.name}) does not match the name on the URL ({name})"
        )


def metadata_of_new(
    metadata: ObjectMeta, *, name: str, namespace: str, uid: str, now: str, generation: int
) -> ObjectMeta:
    """The metadata of an object that is created."""
    return replace(
        metadata,
        name=name,
        namespace=namespace,
        uid=uid,
        resource_version="",
        generation=generation,
        creation_timestamp=now,
        deletion_timestamp=None,
        deletion_grace_period_seconds=None,
        self_link="",
    )


def metadata_of_update(metadata: ObjectMeta, old: ObjectMeta) -> ObjectMeta:
    """The metadata of an object that is replaced: what the server owns comes from the old one."""
    return replace(
        metadata,
        name=old.name,
        namespace=old.namespace,
        uid=old.uid,
        resource_version=old.resource_version,
        generation=old.generation,
        creation_timestamp=old.creation_timestamp,
        deletion_timestamp=old.deletion_timestamp,
        deletion_grace_period_seconds=old.deletion_grace_period_seconds,
        self_link="",
    )


def check_preconditions(served: Served, sent: ObjectMeta, old: ObjectMeta) -> None:
    """A write that names a version or a uid means exactly that object.

    Raises:
        Conflict: the stored object is another one.
    """
    if sent.uid and sent.uid != old.uid:
        raise served.conflict(
            old.name,
            f"Precondition failed: UID in precondition: {sent.uid}, UID in object meta: {old.uid}",
        )
    if sent.resource_version not in ("", "0", old.resource_version):
        raise served.conflict(old.name)


def check_version_present(route: Route, request: ApiRequest, sent: ObjectMeta) -> None:
    """A PUT of a custom resource must name the version that it replaces.

    Raises:
        Invalid: it does not.
    """
    if (
        sent.resource_version not in ("", "0")
        or route.served.kind.builtin
        or request.method != "PUT"
    ):
        return
    cause = Cause(
        reason="FieldValueInvalid",
        message="Invalid value: 0: must be specified for an update",
        field="metadata.resourceVersion",
    )
    served = route.served
    # the only such error in which Kubernetes names the resource instead of the kind
    raise Invalid(
        f'{served.qualified} "{route.name}" is invalid: {cause.field}: {cause.message}',
        causes=[cause],
        group=served.kind.group,
        kind=served.kind.plural,
        name=route.name,
    )


def check_finalizers(served: Served, new: ObjectMeta, old: ObjectMeta) -> StatusError | None:
    """Finalizers may only go while an object is being deleted; the error if one came."""
    if old.deletion_timestamp is None:
        return None
    added = sorted(set(new.finalizers or ()) - set(old.finalizers or ()))
    if not added:
        return None
    listed = ", ".join(f'"{name}"' for name in added)
    cause = Cause(
        reason="FieldValueForbidden",
        message="Forbidden: no new finalizers can be added if the object is being deleted, found new "
        f"finalizers []string{{{listed}}}",
        field="metadata.finalizers",
    )
    return served.invalid(old.name, [cause])


def generation_of_update(served: Served, new: Any, old: Any) -> int:
    """The generation after an update: counts the changes of what was asked for.

    Of Kubernetes' own kinds that is ``spec``, of Deployments also the annotations; of custom kinds
    everything but metadata and status.
    """
    generation: int = old.metadata.generation
    if not served.counts_generation:
        return generation
    spec_only = served.kind.builtin and "spec" in served.kind.model.__struct_fields__
    codec = served.codec
    changed = codec.wanted(new, spec_only=spec_only) != codec.wanted(old, spec_only=spec_only)
    if served.collection == "deployments.apps":
        changed = changed or new.metadata.annotations != old.metadata.annotations
    return generation + 1 if changed else generation


def finished(served: Served, subject: Any) -> bool:
    """Whether nothing holds an object that is being deleted any more."""
    metadata = subject.metadata
    if metadata.deletion_timestamp is None or metadata.finalizers:
        return False
    if served.collection == "namespaces" and subject.spec is not None and subject.spec.finalizers:
        return False
    return not metadata.deletion_grace_period_seconds
