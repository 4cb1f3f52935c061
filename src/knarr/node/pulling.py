"""Brings a container's image here, tells about it, and tries again when it fails."""

import logging
from collections.abc import Callable, Iterable

from knarr.node.images.auth import credentials_from_docker_config
from knarr.node.images.errors import ImageError
from knarr.node.images.records import Credentials, ImageRecord, PullPolicy, RootFs
from knarr.node.restarts import PULL_BACKOFF
from knarr.node.services import Services
from knarr.resources.core.container import Container, ContainerStateWaiting
from knarr.resources.core.pod import Pod
from knarr.resources.core.secret import Secret

LOG = logging.getLogger(__name__)


def pull_policy(container: Container) -> PullPolicy:
    """The policy, by Kubernetes' default: ``Always`` for ``latest`` and no tag."""
    match container.image_pull_policy:
        case "Always":
            return "Always"
        case "Never":
            return "Never"
        case "IfNotPresent":
            return "IfNotPresent"
        case _:
            name = container.image.rpartition("/")[2]
            if "@" in name:
                return "IfNotPresent"
            return "Always" if ":" not in name or name.endswith(":latest") else "IfNotPresent"


def pull_credentials(secrets: Iterable[Secret]) -> dict[str, Credentials]:
    """Registry accounts of ``dockerconfigjson`` Secrets, by host; Secrets that are none are skipped."""
    accounts: dict[str, Credentials] = {}
    for secret in secrets:
        raw = (secret.data or {}).get(".dockerconfigjson")
        if raw:
            try:
                accounts |= credentials_from_docker_config(raw)
            except (TypeError, ValueError) as error:
                LOG.warning("pull secret %s: %s", secret.key, error)
    return accounts


async def obtain_image(
    services: Services,
    pod: Pod,
    container: Container,
    waiting: Callable[[ContainerStateWaiting], None],
) -> tuple[ImageRecord, RootFs]:
    """The image and its files; failures are reported and tried again until cancelled.

    Args:
        services: of the agent.
        pod: for events and pull secrets.
        container: whose image it is.
        waiting: told why the container waits.
    """
    attempt = 0
    while True:
        try:
            return await _pull(services, pod, container)
        except ImageError as error:
            delay_s = PULL_BACKOFF.ceiling_s(attempt)
            attempt += 1
            waiting(ContainerStateWaiting(reason=error.reason, message=error.message))
            record = services.recorder.record
            record(
                pod,
                "Warning",
                "Failed",
                f'Failed to pull image "{container.image}": {error.message}',
            )
            record(pod, "Warning", "Failed", f"Error: {error.reason}")
            await services.sleep(min(2.0, delay_s))
            text = f'Back-off pulling image "{container.image}"'
            waiting(
                ContainerStateWaiting(
                    reason="ImagePullBackOff", message=f"{text}: {error.reason}: {error.message}"
                )
            )
            record(pod, "Normal", "BackOff", text)
            await services.sleep(max(0.0, delay_s - 2.0))


async def _pull(services: Services, pod: Pod, container: Container) -> tuple[ImageRecord, RootFs]:
    policy = pull_policy(container)
    record = services.recorder.record
    local = services.images.resolve(container.image) if policy != "Always" else None
    if local is not None:
        record(
            pod,
            "Normal",
            "Pulled",
            f'Container image "{container.image}" already present on machine',
        )
        return local, await services.images.layers(local)
    spec = pod.spec
    names = [reference.name for reference in (spec.image_pull_secrets if spec else ())]
    found = [services.sources.secret(pod.metadata.namespace, name) for name in names]
    credentials = pull_credentials(secret for secret in found if secret is not None)
    record(pod, "Normal", "Pulling", f'Pulling image "{container.image}"')
    begun = services.clock.monotonic()
    image = await services.images.ensure(container.image, policy=policy, credentials=credentials)
    layers = await services.images.layers(image)
    took_s = services.clock.monotonic() - begun
    size = f"Image size: {image.size_bytes} bytes."
    text = f'Successfully pulled image "{container.image}" in {took_s:.3f}s. {size}'
    record(pod, "Normal", "Pulled", text)
    return image, layers


def image_id(image: ImageRecord) -> str:
    """What ``imageID`` says: the repository and the digest."""
    name = image.reference.partition("@")[0]
    head, separator, last = name.rpartition("/")
    return f"{head}{separator}{last.partition(':')[0]}@{image.digest}"
