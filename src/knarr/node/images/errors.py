"""What can go wrong with an image, with the reasons that kubelet uses for a waiting container.

Every message names the image or the file, the cause and, where there is one, the remedy. ``retryable`` tells
whether the same call may succeed later without anybody changing something.
"""

from knarr.meta.errors import KnarrError


class ImageError(KnarrError):
    """Root of the image errors.

    Attributes:
        reason: for ``state.waiting.reason`` of a container.
        message: for people.
        retryable: a later attempt may succeed by itself.
    """

    reason = "ErrImagePull"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidReference(ImageError):
    """The text is not an image reference.

    ``message`` is go-containerregistry's, which Knative puts into its validation errors; ``hint`` says
    what is wrong with it.
    """

    reason = "InvalidImageName"

    def __init__(self, reference: str, hint: str) -> None:
        super().__init__(f"could not parse reference: {reference}")
        self.reference = reference
        self.hint = hint


class NotPresent(ImageError):
    """The image is not in the store and must not or cannot be pulled."""

    reason = "ErrImageNeverPull"


class PullError(ImageError):
    """A registry's answer made a pull fail."""


class Unauthorized(PullError):
    """The registry wants credentials, or refuses those given."""


class NotFound(PullError):
    """The registry does not have the repository, tag or digest."""


class RegistryUnavailable(PullError):
    """The registry could not be reached, or answered 429 or 5xx until the last attempt."""

    retryable = True


class NoMatchingPlatform(PullError):
    """The index has no manifest for this machine."""


class InvalidManifest(ImageError):
    """A manifest, index or configuration breaks the specification or a limit."""


class DigestMismatch(ImageError):
    """Content is not what its digest says."""


class LimitExceeded(ImageError):
    """An image is larger or deeper than this store accepts."""


class InvalidArchive(ImageError):
    """A file is neither an OCI layout nor a ``docker save`` archive, or is damaged."""

    reason = "InvalidImageArchive"


class InvalidLayer(ImageError):
    """A layer cannot be unpacked: damaged, hostile, or in a format that is not supported."""

    reason = "ErrImageUnpack"


class HostBaseMissing(ImageError):
    """An image built on this machine's interpreter needs files that are gone."""

    reason = "ErrImageHostBase"


class DiskFull(ImageError):
    """No space left; nothing half-written stays behind."""

    reason = "InsufficientStorage"
    retryable = True


class StoreBusy(ImageError):
    """Another process holds the store's lock for longer than the caller wants to wait."""

    reason = "ImageStoreBusy"
    retryable = True
