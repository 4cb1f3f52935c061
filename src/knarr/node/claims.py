"""Which directory of this machine a claim leads to. Pure."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from knarr.meta.objects import Key
from knarr.node.bundle import BadContainer
from knarr.resources.core.persistentvolume import PersistentVolume
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim


@dataclass(frozen=True, slots=True)
class ClaimedDirectory:
    """What a ``persistentVolumeClaim`` volume is: a directory that outlives Pods.

    Attributes:
        path: on this machine; its files' owners are those that containers see.
        read_only: whatever the mount says.
    """

    path: Path
    read_only: bool = False


def volume_directory(root: Path, path: str) -> Path:
    """The directory of a PersistentVolume.

    Args:
        root: of the directories that volumes may have.
        path: of the volume.

    Raises:
        BadContainer: the path lies elsewhere; no file of the machine is given to containers.
    """
    pure = PurePosixPath(path)
    if ".." in pure.parts or PurePosixPath(root) not in pure.parents:
        raise BadContainer(f"the volume's path {path} is not below {root}")
    return Path(pure)


def claim_directory(
    name: str,
    claim: PersistentVolumeClaim | None,
    volume: PersistentVolume | None,
    root: Path,
) -> Path:
    """The directory that a claim is bound to.

    Args:
        name: of the claim.
        claim: None when there is none.
        volume: that the claim names, None when there is none.
        root: see ``volume_directory``.

    Raises:
        BadContainer: there is none yet, or none that this machine has.
    """
    if claim is None:
        raise BadContainer(f'persistentvolumeclaim "{name}" not found')
    if claim.status is None or claim.status.phase != "Bound":
        raise BadContainer(f'persistentvolumeclaim "{name}" is not bound yet')
    reference = volume.spec.claim_ref if volume is not None and volume.spec else None
    if volume is None or reference is None or reference.uid != claim.metadata.uid:
        raise BadContainer(f'persistentvolumeclaim "{name}" has lost its volume')
    source = volume.spec.local if volume.spec else None
    if source is None:
        raise BadContainer(f'volume "{volume.metadata.name}" is no local volume')
    return volume_directory(root, source.path)


def claim_version(claim: PersistentVolumeClaim | None) -> str:
    """Changes when a claim leads to another directory."""
    if claim is None or claim.spec is None:
        return "-"
    phase = claim.status.phase if claim.status else ""
    return f"{claim.metadata.uid}/{claim.spec.volume_name}/{phase}/{claim.deleting}"


def volume_key(claim: PersistentVolumeClaim | None) -> Key | None:
    """The key of the volume that a claim names."""
    name = claim.spec.volume_name if claim is not None and claim.spec else ""
    return Key("", name) if name else None
