"""What a Pod gets from its ServiceAccount: the volume with a token, and secrets for images. Pure.

Semantics: Kubernetes ``plugin/pkg/admission/serviceaccount``. The node agent uses the same rules for
sandboxes that it makes before their Pod object exists.
"""

import random
from collections.abc import Sequence

from msgspec.structs import replace

from knarr.meta.names import generated_name
from knarr.resources.core.container import Container, VolumeMount
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.core.volume import (
    ConfigMapProjection,
    DownwardApiFile,
    DownwardApiProjection,
    KeyToPath,
    ObjectFieldSelector,
    ProjectedVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)

DEFAULT_ACCOUNT = "default"
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
TOKEN_VOLUME = "kube-api-access"  # noqa: S105 - a name
ROOT_CA = "kube-root-ca.crt"
TOKEN_SECONDS = 3607
_FILE_MODE = 0o644


def admit_spec(spec: PodSpec, account: ServiceAccount, rng: random.Random) -> PodSpec:
    """A Pod's spec with what its account gives it.

    Args:
        spec: after defaulting.
        account: the one that it names.
        rng: for the volume's name.
    """
    if not spec.image_pull_secrets:
        spec = replace(spec, image_pull_secrets=account.image_pull_secrets)
    return _with_token(spec, rng) if mounts_token(spec, account) else spec


def mounts_token(spec: PodSpec, account: ServiceAccount) -> bool:
    """Whether containers get a token without asking; the Pod's word counts more than its account's."""
    for wish in (spec.automount_service_account_token, account.automount_service_account_token):
        if wish is not None:
            return wish
    return True


def _with_token(spec: PodSpec, rng: random.Random) -> PodSpec:
    present = token_volume_of(spec)
    name = present or generated_name(f"{TOKEN_VOLUME}-", rng)
    containers = _mounted(spec.containers, name)
    init_containers = _mounted(spec.init_containers, name)
    needed = (containers, init_containers) != (spec.containers, spec.init_containers)
    volumes = spec.volumes if present or not needed else (*spec.volumes, token_volume(name))
    return replace(spec, containers=containers, init_containers=init_containers, volumes=volumes)


def token_volume_of(spec: PodSpec) -> str:
    """The name of the volume that stands for the account's, or empty."""
    prefix = f"{TOKEN_VOLUME}-"
    return next((one.name for one in spec.volumes if one.name.startswith(prefix)), "")


def _mounted(containers: Sequence[Container], volume: str) -> tuple[Container, ...]:
    mount = VolumeMount(name=volume, read_only=True, mount_path=TOKEN_DIRECTORY)
    return tuple(
        one
        if any(known.mount_path == TOKEN_DIRECTORY for known in one.volume_mounts)
        else replace(one, volume_mounts=(*one.volume_mounts, mount))
        for one in containers
    )


def token_volume(name: str) -> Volume:
    """The volume of an account: token, CA and namespace."""
    token = ServiceAccountTokenProjection(path="token", expiration_seconds=TOKEN_SECONDS)
    authority = ConfigMapProjection(name=ROOT_CA, items=(KeyToPath(key="ca.crt", path="ca.crt"),))
    field = ObjectFieldSelector(api_version="v1", field_path="metadata.namespace")
    namespace = DownwardApiProjection(items=(DownwardApiFile(path="namespace", field_ref=field),))
    sources = (
        VolumeProjection(service_account_token=token),
        VolumeProjection(config_map=authority),
        VolumeProjection(downward_api=namespace),
    )
    return Volume(
        name=name, projected=ProjectedVolumeSource(sources=sources, default_mode=_FILE_MODE)
    )


def canonical_spec(spec: PodSpec) -> PodSpec:
    """The spec with the account's volume under a name that is the same for every Pod of a template.

    The name that admission makes is random; sandboxes that wait for their Pod cannot know it.
    """
    name = token_volume_of(spec)
    if not name or any(one.name == TOKEN_VOLUME for one in spec.volumes):
        return spec
    volumes = tuple(
        replace(one, name=TOKEN_VOLUME) if one.name == name else one for one in spec.volumes
    )
    return replace(
        spec,
        volumes=volumes,
        containers=_renamed(spec.containers, name),
        init_containers=_renamed(spec.init_containers, name),
    )


def _renamed(containers: Sequence[Container], name: str) -> tuple[Container, ...]:
    return tuple(
        replace(
            one,
            volume_mounts=tuple(
                replace(mount, name=TOKEN_VOLUME) if mount.name == name else mount
                for mount in one.volume_mounts
            ),
        )
        for one in containers
    )
