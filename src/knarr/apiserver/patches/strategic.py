"""Strategic merge patch: lists that are sets of named things are merged by name.

Which list is merged by which key are facts of the Kubernetes API (``patchStrategy``, ``patchMergeKey``
of its types). Directives: ``$patch: replace|delete|merge``, ``$retainKeys``, ``$setElementOrder/<list>``,
``$deleteFromPrimitiveList/<list>``. Source of the behaviour: ``apimachinery/pkg/util/strategicpatch``.
"""

import json
from typing import Any

from knarr.apiserver.protobuf.wire import WireTable
from knarr.meta.errors import BadRequest

_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"
_PATCH = "$patch"
_PRIMITIVE = ""

# (message, field) -> the key that names an item; empty for sets of scalars.
_MERGE_KEYS: dict[tuple[str, str], str] = {
    ("meta.ObjectMeta", "finalizers"): _PRIMITIVE,
    ("meta.ObjectMeta", "ownerReferences"): "uid",
    ("core/v1.PodSpec", "containers"): "name",
    ("core/v1.PodSpec", "initContainers"): "name",
    ("core/v1.PodSpec", "ephemeralContainers"): "name",
    ("core/v1.PodSpec", "volumes"): "name",
    ("core/v1.PodSpec", "imagePullSecrets"): "name",
    ("core/v1.PodSpec", "hostAliases"): "ip",
    ("core/v1.PodSpec", "topologySpreadConstraints"): "topologyKey",
    ("core/v1.PodSpec", "schedulingGates"): "name",
    ("core/v1.PodSpec", "resourceClaims"): "name",
    ("core/v1.Container", "env"): "name",
    ("core/v1.Container", "ports"): "containerPort",
    ("core/v1.Container", "volumeMounts"): "mountPath",
    ("core/v1.Container", "volumeDevices"): "devicePath",
    ("core/v1.EphemeralContainerCommon", "env"): "name",
    ("core/v1.EphemeralContainerCommon", "ports"): "containerPort",
    ("core/v1.EphemeralContainerCommon", "volumeMounts"): "mountPath",
    ("core/v1.EphemeralContainerCommon", "volumeDevices"): "devicePath",
    ("core/v1.PodStatus", "conditions"): "type",
    ("core/v1.PodStatus", "podIPs"): "ip",
    ("core/v1.ServiceSpec", "ports"): "port",
    ("core/v1.ServiceStatus", "conditions"): "type",
    ("core/v1.ServiceAccount", "secrets"): "name",
    ("core/v1.NamespaceStatus", "conditions"): "type",
    ("core/v1.NodeStatus", "conditions"): "type",
    ("core/v1.NodeStatus", "addresses"): "type",
    ("core/v1.NodeSpec", "podCIDRs"): _PRIMITIVE,
    ("core/v1.PersistentVolumeClaimStatus", "conditions"): "type",
    ("core/v1.ReplicationControllerStatus", "conditions"): "type",
    ("apps/v1.DeploymentStatus", "conditions"): "type",
    ("apps/v1.ReplicaSetStatus", "conditions"): "type",
    ("apps/v1.StatefulSetStatus", "conditions"): "type",
    ("apps/v1.DaemonSetStatus", "conditions"): "type",
    ("batch/v1.JobStatus", "conditions"): "type",
    ("admissionregistration/v1.MutatingWebhookConfiguration", "webhooks"): "name",
    ("admissionregistration/v1.MutatingWebhook", "matchConditions"): "name",
    ("admissionregistration/v1.ValidatingWebhookConfiguration", "webhooks"): "name",
    ("admissionregistration/v1.ValidatingWebhook", "matchConditions"): "name",
}


def strategic_merge(
    document: dict[str, Any], patch: dict[str, Any], table: WireTable, message: str | None
) -> dict[str, Any]:
    """The patched document; the arguments are not changed.

    Args:
        document: the stored document.
        patch: what to change.
        table: tells which message each field is.
        message: the document's own, None when unknown (lists are then replaced).

    Raises:
        BadRequest: a directive or an item of a merged list is malformed.
    """
    return _Merge(table).objects(document, patch, message)


class _Merge:
    def __init__(self, table: WireTable) -> None:
        self._table = table

    def objects(
        self, old: dict[str, Any], patch: dict[str, Any], message: str | None
    ) -> dict[str, Any]:
        match patch.get(_PATCH):
            case "replace":
                return {name: value for name, value in patch.items() if name != _PATCH}
            case "delete":
                return {}
            case None | "merge":
                pass
            case other:
                raise BadRequest(f"unknown value {other!r} of directive $patch")
        result = _retained(old, patch)
        for name, value in patch.items():
            if name.startswith("$"):
                continue
            if value is None:
                result.pop(name, None)
            else:
                result[name] = self._value(result.get(name), value, name, message)
        self._directives(result, patch, message)
        return result

    def _value(self, old: Any, value: Any, name: str, message: str | None) -> Any:
        field = self._table.field(message, name) if message else None
        inner = field.type if field is not None and field.type in self._table else None
        if isinstance(value, dict):
            if field is not None and field.shape == "map":
                inner = None
            return self.objects(old if isinstance(old, dict) else {}, value, inner)
        if not isinstance(value, list):
            return value
        key = self._merge_key(message, name)
        if key is None:
            return [_without_directives(item) for item in value]
        present = old if isinstance(old, list) else []
        if key == _PRIMITIVE:
            return _primitives(present, value)
        return self._items(present, value, key, inner)

    def _merge_key(self, message: str | None, name: str) -> str | None:
        return _MERGE_KEYS.get((message, name)) if message else None

    def _items(self, old: list[Any], patch: list[Any], key: str, message: str | None) -> list[Any]:
        if not all(isinstance(item, dict) for item in patch):
            raise BadRequest(f"an item of a list that is merged by {key!r} is not an object")
        if any(item.get(_PATCH) == "replace" for item in patch):
            return [_without_directives(item) for item in patch if set(item) - {_PATCH}]
        # Places by name instead of a search per item: both lists may be long.
        result: list[Any] = list(old)
        places: dict[str, int] = {}
        for at, each in enumerate(old):
            if isinstance(each, dict) and key in each:
                places.setdefault(_mark(each[key]), at)
        gone: set[str] = set()
        fresh: list[Any] = []
        sent: list[int] = []
        for item in patch:
            mark = _mark(_name(item, key))
            found = places.get(mark) if mark not in gone else None
            if item.get(_PATCH) == "delete":
                gone.add(mark)
            elif found is None:
                sent.append(-len(fresh) - 1)
                fresh.append(self.objects({}, item, message))
            else:
                sent.append(found)
                result[found] = self.objects(result[found], item, message)
        order = _interleaved(sent, len(result))
        items = [result[at] if at >= 0 else fresh[-at - 1] for at in order]
        return [each for each in items if not gone or _mark_of(each, key) not in gone]

    def _directives(
        self, result: dict[str, Any], patch: dict[str, Any], message: str | None
    ) -> None:
        for name, value in patch.items():
            if name.startswith(_DELETE_PRIMITIVES):
                field = name.removeprefix(_DELETE_PRIMITIVES)
                gone = {_mark(item) for item in _list(name, value)}
                if isinstance(result.get(field), list):
                    result[field] = [item for item in result[field] if _mark(item) not in gone]
        for name, value in patch.items():
            if name.startswith(_ORDER):
                field = name.removeprefix(_ORDER)
                key = self._merge_key(message, field)
                if key is not None and isinstance(result.get(field), list):
                    result[field] = _ordered(result[field], _list(name, value), key)


def _retained(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    retained = patch.get(_RETAIN)
    if retained is None:
        return dict(old)
    kept = _list(_RETAIN, retained)
    return {name: value for name, value in old.items() if name in kept}


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"directive {name} must be an array")
    return value


def _name(item: Any, key: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise BadRequest(f"an item of a list that is merged by {key!r} does not have it")
    return item[key]


def _mark(name: Any) -> str:
    """A text that is equal exactly for equal JSON values."""
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return json.dumps(name, sort_keys=True)


def _mark_of(item: Any, key: str) -> str | None:
    return _mark(item[key]) if isinstance(item, dict) and key in item else None


def _primitives(old: list[Any], patch: list[Any]) -> list[Any]:
    places: dict[str, int] = {}
    for at, item in enumerate(old):
        places.setdefault(_mark(item), at)
    fresh: list[Any] = []
    sent: list[int] = []
    for item in patch:
        found = places.get(_mark(item))
        if found is None:
            found = -len(fresh) - 1
            fresh.append(item)
        if found not in sent:
            sent.append(found)
    return [old[at] if at >= 0 else fresh[-at - 1] for at in _interleaved(sent, len(old))]


def _interleaved(sent: list[int], size: int) -> list[int]:
    """The order of a merged list without an order directive.

    What was sent keeps its order, and so does the rest; one of the rest comes first where it stood before
    what was sent.

    Args:
        sent: old places of the items of the patch, in its order; negative for new items.
        size: of the old list.
    """
    rest = [at for at in range(size) if at not in set(sent)]
    result: list[int] = []
    for place in sent:
        while place >= 0 and rest and rest[0] < place:
            result.append(rest.pop(0))
        result.append(place)
    return result + rest


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_directives(item)
            for name, item in value.items()
            if not name.startswith("$") and item is not None
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value


def _ordered(items: list[Any], order: list[Any], key: str) -> list[Any]:
    """Items in the wanted order; those it does not name stay behind the one they followed."""
    names = [_name(item, key) for item in order] if key else order
    ranks: dict[str, int] = {repr(name): rank for rank, name in enumerate(names)}
    last = -1
    placed: list[tuple[int, int, Any]] = []
    for at, item in enumerate(items):
        name = item.get(key) if key and isinstance(item, dict) else item
        rank = ranks.get(repr(name))
        if rank is None:
            placed.append((last, at, item))
        else:
            placed.append((rank, -1, item))
            last = rank
    return [item for _, _, item in sorted(placed, key=lambda each: each[:2])]
