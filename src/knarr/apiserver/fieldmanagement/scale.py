"""Ownership between an object and its ``scale``: only the number of replicas crosses over."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from knarr.apiserver.fieldmanagement.fieldset import FieldSet
from knarr.apiserver.fieldmanagement.managers import Managed, Managers

SCALE_VERSION: Final = "autoscaling/v1"
_REPLICAS: Final = FieldSet.of_fields("spec.replicas")


def managers_of_scale(parent: Managers, paths: Mapping[str, str]) -> Managers:
    """The entries of a Scale document.

    Args:
        parent: the entries of the object.
        paths: the dotted path of the replicas by apiVersion of the object, as ``spec.replicas``.
    """
    return tuple(
        replace(managed, api_version=SCALE_VERSION, fields=_REPLICAS)
        for managed in parent
        if (path := paths.get(managed.api_version)) and managed.fields & FieldSet.of_fields(path)
    )


def managers_of_parent(
    parent: Managers, scale: Managers, paths: Mapping[str, str], api_version: str
) -> Managers:
    """The entries of the object after a write to its scale.

    Args:
        parent: the entries of the object before.
        scale: the entries of the Scale document after the write.
        paths: as above.
        api_version: of the object.
    """
    left = {_name(managed): managed for managed in scale}
    result: list[Managed] = []
    for managed in parent:
        path = paths.get(managed.api_version)
        if path is None:
            continue
        replicas = FieldSet.of_fields(path)
        if not managed.fields & replicas or left.pop(_name(managed), None) is not None:
            result.append(managed)
        elif rest := managed.fields - replicas:
            result.append(replace(managed, fields=rest))
    for managed in left.values():
        if managed.fields & _REPLICAS:
            own = FieldSet.of_fields(paths[api_version])
            result.append(replace(managed, api_version=api_version, fields=own))
    return tuple(result)


def _name(managed: Managed) -> tuple[str, str, str]:
    return (managed.manager, managed.operation, managed.subresource)
