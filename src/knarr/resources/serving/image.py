"""What an image reference is (go-containerregistry ``name.ParseReference``, weak validation)."""

import re
from urllib.parse import urlsplit

_TAG = re.compile(r"[-a-zA-Z0-9_.]{1,128}")
_REPOSITORY = re.compile(r"[-a-z0-9_./]{2,255}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_image_reference(text: str) -> bool:
    """Whether ``text`` names an image, by tag or digest or neither."""
    if _is_tagged(text):
        return True
    base, at, digest = text.partition("@")
    return bool(at) and _DIGEST.fullmatch(digest) is not None and _is_tagged(base)


def _is_tagged(text: str) -> bool:
    base, colon, tag = text.rpartition(":")
    if colon and "/" not in tag:
        return _TAG.fullmatch(tag) is not None and _is_repository(base)
    return _is_repository(text)


def _is_repository(text: str) -> bool:
    registry, slash, repository = text.partition("/")
    if not slash or not (set(".:") & set(registry) or registry == "localhost"):
        registry, repository = "", text
    if not _REPOSITORY.fullmatch(repository):
        return False
    return not registry or _is_authority(registry)


def _is_authority(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return parts.netloc == text and parts.port != 0 and not re.search(r"[\s\"<>%{}|\\^`]", text)
    except ValueError:
        return False
