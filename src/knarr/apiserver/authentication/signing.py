"""The keys that sign service account tokens: made once, kept under ``<data>/pki``, published as a JWKS.

``cryptography`` is imported when a key is made and when the first token is signed, and never to verify:
a server that signs nothing stays 7 MiB smaller.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from knarr.apiserver.authentication.jwt import (
    ALGORITHM,
    InvalidToken,
    PublicKey,
    assemble,
    decode_base64url,
    encode_base64url,
    signing_input,
)
from knarr.apiserver.files import write_atomically
from knarr.meta.errors import KnarrError

_KEY_BITS = 2048
_EXPONENT = 65_537


class SigningKeyUnusable(KnarrError):
    """The key files are damaged; the text names them."""


class _Jwk(msgspec.Struct, frozen=True):
    kid: str
    n: str
    e: str


class _Jwks(msgspec.Struct, frozen=True):
    keys: tuple[_Jwk, ...]


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """One key to sign with and those to verify with.

    Attributes:
        private_key: PEM file.
        kid: names the key that signs.
        public: by key id; a replaced key stays here as long as its tokens may live.
        jwks: the public keys as a JSON Web Key Set (RFC 7517).
    """

    private_key: Path
    kid: str
    public: Mapping[str, PublicKey]
    jwks: bytes


def ensure_signing_keys(directory: Path) -> SigningKeys:
    """Load the keys of a directory; make them at the first start.

    Raises:
        OSError: the directory cannot be read or written.
        SigningKeyUnusable: what it holds is no key set.
    """
    private, published = directory / "sa.key", directory / "sa.jwks"
    if not (private.exists() and published.exists()):
        _make(private, published)
    jwks = published.read_bytes()
    try:
        keys = msgspec.json.decode(jwks, type=_Jwks).keys
        public = {key.kid: PublicKey(key.kid, _integer(key.n), _integer(key.e)) for key in keys}
    except (msgspec.MsgspecError, InvalidToken) as error:
        raise SigningKeyUnusable(
            f"{published} is damaged ({error}): remove it and {private}; tokens made so far end then"
        ) from error
    if not keys:
        raise SigningKeyUnusable(f"{published} holds no key: remove it and {private}")
    return SigningKeys(private, keys[0].kid, public, jwks)


def _integer(text: str) -> int:
    return int.from_bytes(decode_base64url(text), "big")


def _make(private: Path, published: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(_EXPONENT, _KEY_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    numbers = key.public_key().public_numbers()
    jwk = {
        "use": "sig",
        "kty": "RSA",
        "kid": encode_base64url(hashlib.sha256(der).digest()),
        "alg": ALGORITHM,
        "n": _encode_integer(numbers.n),
        "e": _encode_integer(numbers.e),
    }
    published.unlink(missing_ok=True)
    write_atomically(private, pem, 0o600)
    write_atomically(published, msgspec.json.encode({"keys": [jwk]}), 0o644)


def _encode_integer(number: int) -> str:
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class Signer:
    """Signs claims; the private key is loaded when it is first needed and stays in memory."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys
        self._private: Any = None

    async def sign(self, claims: Mapping[str, Any]) -> str:
        """The token of some claims.

        Raises:
            SigningKeyUnusable: the key's file is absent or damaged.
        """
        signed = signing_input(self._keys.kid, claims)
        # 0.7 ms of arithmetic, more at first: the event loop has better to do meanwhile.
        return assemble(signed, await asyncio.to_thread(self._signature, signed))

    def _signature(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        if self._private is None:
            self._private = self._load()
        signature: bytes = self._private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return signature

    def _load(self) -> Any:
        from cryptography.hazmat.primitives import serialization

        path = self._keys.private_key
        try:
            return serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise SigningKeyUnusable(f"{path} cannot be used: {error}") from error
