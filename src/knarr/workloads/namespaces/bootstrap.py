"""The namespaces that exist from the start."""

from knarr.kube.client import Client
from knarr.meta.errors import AlreadyExists
from knarr.meta.objects import ObjectMeta
from knarr.resources.core.namespace import NAMESPACE, Namespace

SYSTEM_NAMESPACES = (
    "default",
    "kube-system",
    "kube-public",
    "knative-serving",
    "knative-eventing",
)


async def ensure_namespaces(client: Client, names: tuple[str, ...] = SYSTEM_NAMESPACES) -> None:
    """Create the namespaces that are missing.

    Raises:
        StatusError: the API refused.
    """
    present = {item.metadata.name for item in await client.list(NAMESPACE)}
    for name in names:
        if name not in present:
            try:
                await client.create(NAMESPACE, Namespace(metadata=ObjectMeta(name=name)))
            except AlreadyExists:
                continue
