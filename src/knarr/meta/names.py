"""Object names: how children are named and what a valid name is.

Sources: ``knative.dev/pkg/kmeta.ChildName``; Kubernetes ``apimachinery/pkg/util/validation``.
"""

import hashlib
import random
import re

MAX_LENGTH = 63
_MD5_HEX_LENGTH = 32
_GENERATED_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_SUFFIX_LENGTH = 5

_DNS1123_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS1123_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
DNS1123_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
    "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
DNS1123_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def child_name(parent: str, suffix: str) -> str:
    """A name for a child that fits 63 characters and stays unique: long parents are hashed."""
    if len(parent) + len(suffix) <= MAX_LENGTH:
        return f"{parent}{suffix}"
    # An identifier, not a secret: MD5 is what existing objects in clusters are named with.
    digest = hashlib.md5(parent.encode(), usedforsecurity=False).hexdigest()
    if len(suffix) >= MAX_LENGTH - _MD5_HEX_LENGTH:
        suffix_digest = hashlib.md5((parent + suffix).encode(), usedforsecurity=False).hexdigest()
        return parent[: MAX_LENGTH - _MD5_HEX_LENGTH] + suffix_digest
    return parent[: MAX_LENGTH - _MD5_HEX_LENGTH - len(suffix)] + digest + suffix


def generated_name(prefix: str, rng: random.Random) -> str:
    """``generateName`` plus five characters of Kubernetes' vowel-free alphabet."""
    base = prefix[: MAX_LENGTH - _GENERATED_SUFFIX_LENGTH]
    return base + "".join(rng.choices(_GENERATED_ALPHABET, k=_GENERATED_SUFFIX_LENGTH))


def dns1035_label_problems(name: str) -> list[str]:
    """Why ``name`` is no DNS-1035 label; empty when it is one."""
    problems = []
    if len(name) > MAX_LENGTH:
        problems.append(f"must be no more than {MAX_LENGTH} characters")
    if not _DNS1035_LABEL.fullmatch(name):
        problems.append(DNS1035_TEXT)
    return problems


def dns1123_label_problems(name: str) -> list[str]:
    """Why ``name`` is no RFC 1123 label; empty when it is one."""
    problems = []
    if len(name) > MAX_LENGTH:
        problems.append(f"must be no more than {MAX_LENGTH} characters")
    if not _DNS1123_LABEL.fullmatch(name):
        problems.append(DNS1123_LABEL_TEXT)
    return problems


def dns1123_subdomain_problems(name: str) -> list[str]:
    """Why ``name`` is no RFC 1123 subdomain; empty when it is one."""
    problems = []
    if len(name) > 253:
        problems.append("must be no more than 253 characters")
    if not _DNS1123_SUBDOMAIN.fullmatch(name):
        problems.append(DNS1123_SUBDOMAIN_TEXT)
    return problems
