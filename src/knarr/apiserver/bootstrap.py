"""The objects that exist from the first start on."""

import msgspec

from knarr.kube.transport import Transport
from knarr.meta.errors import AlreadyExists

NAMESPACES = ("default", "kube-system", "kube-public", "knative-serving", "knative-eventing")


async def ensure_builtin_objects(transport: Transport) -> None:
    """Create what is missing of the namespaces that clients take for granted.

    Raises:
        StatusError: the API refused for another reason than that they exist.
    """
    for name in NAMESPACES:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await transport.request(
                "POST", "/api/v1/namespaces", body=msgspec.json.encode(document)
            )
        except AlreadyExists:
            continue
