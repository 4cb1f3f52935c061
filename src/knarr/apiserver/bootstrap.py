"""The objects that exist from the first start on."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from knarr.kube.transport import Transport
from knarr.meta.errors import AlreadyExists

Document = Mapping[str, Any]
NAMESPACES = ("default", "kube-system", "kube-public", "knative-serving", "knative-eventing")


DEFAULT_CLASS: Document = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "knarr-local",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "knarr.dev/local",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
    "allowVolumeExpansion": True,
}
_PRIORITIES = {
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node "
        "if necessary.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}


def _builtin_objects() -> Iterator[tuple[str, Document]]:
    """Collection paths and documents, in the order in which they are made."""
    for name in NAMESPACES:
        metadata = {"name": name}
        yield (
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        )
    yield "/apis/storage.k8s.io/v1/storageclasses", DEFAULT_CLASS
    for name, (value, text) in _PRIORITIES.items():
        yield (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
                "description": text,
            },
        )


async def ensure_builtin_objects(transport: Transport) -> None:
    """Create what is missing of the objects that clients take for granted.

    Raises:
        StatusError: the API refused for another reason than that they exist.
    """
    for path, document in _builtin_objects():
        try:
            await transport.request("POST", path, body=msgspec.json.encode(document))
        except AlreadyExists:
            continue
