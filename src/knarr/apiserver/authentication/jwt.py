"""JSON Web Tokens signed with RS256 (RFC 7515, RFC 7518 §3.3, RFC 8017 §8.2): verifying, and what to sign.

Verifying needs nothing secret, so it is done here with integers: the signature, raised to the public
exponent, must equal the one padded digest that a signer would have made. Nothing of the decrypted block is
parsed, which is where forgeries of PKCS #1 v1.5 begin. Signing uses the private key and is left to
``cryptography`` (see ``signing``).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.meta.errors import KnarrError

ALGORITHM = "RS256"
MAX_TOKEN_BYTES = 16 << 10
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""ASN.1 of "SHA-256 digest follows" (RFC 8017 §9.2, note 1)."""


class InvalidToken(KnarrError):
    """A token proves nothing; the text says why and may be shown."""


class NoToken(InvalidToken):
    """The text is no token at all, or somebody else's."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA key to verify with; ``kid`` names it in tokens."""

    kid: str
    modulus: int
    exponent: int

    @property
    def size_bytes(self) -> int:
        """The length of the modulus and of signatures."""
        return (self.modulus.bit_length() + 7) // 8


class _Header(msgspec.Struct, frozen=True):
    alg: str = ""
    kid: str = ""
    crit: Any = None


_HEADER = msgspec.json.Decoder(_Header)


def encode_base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """The inverse; only the canonical text of some bytes is accepted.

    Raises:
        NoToken: it is none.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NoToken("the token is not encoded in base64url") from None
    if encode_base64url(data) != text:
        raise NoToken("the token is not encoded canonically")
    return data


def signing_input(kid: str, claims: Mapping[str, Any]) -> bytes:
    """The first two parts of a token, which the third one signs."""
    header = encode_base64url(msgspec.json.encode({"alg": ALGORITHM, "kid": kid}))
    return f"{header}.{encode_base64url(msgspec.json.encode(claims))}".encode()


def assemble(signed: bytes, signature: bytes) -> str:
    """The token."""
    return f"{signed.decode()}.{encode_base64url(signature)}"


def verified_payload(token: str, keys: Mapping[str, PublicKey]) -> bytes:
    """The claims of a token that one of the keys signed, encoded as JSON.

    Args:
        token: whatever a client sent.
        keys: by key id.

    Raises:
        InvalidToken: it is malformed, too long, made with another algorithm or signed by somebody else.
    """
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise NoToken("the token is too long or no text")
    parts = token.split(".")
    if len(parts) != 3:
        raise NoToken("the token has not three parts")
    header = _decode_header(decode_base64url(parts[0]))
    # A token must not choose how it is verified.
    if header.alg != ALGORITHM or header.crit is not None:
        raise InvalidToken(f"tokens must be signed with {ALGORITHM}")
    key = keys.get(header.kid)
    if key is None:
        raise NoToken("the token was not signed with a key of this server")
    if not _signed_by(key, f"{parts[0]}.{parts[1]}".encode(), decode_base64url(parts[2])):
        raise InvalidToken("the signature of the token is wrong")
    return decode_base64url(parts[1])


def _decode_header(data: bytes) -> _Header:
    try:
        return _HEADER.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise NoToken("the header of the token is malformed") from None


def _signed_by(key: PublicKey, message: bytes, signature: bytes) -> bool:
    size = key.size_bytes
    number = int.from_bytes(signature, "big")
    if len(signature) != size or number >= key.modulus:
        return False
    block = pow(number, key.exponent, key.modulus).to_bytes(size, "big")
    return hmac.compare_digest(block, _padded_digest(message, size))


def _padded_digest(message: bytes, size: int) -> bytes:
    """EMSA-PKCS1-v1_5 of SHA-256 (RFC 8017 §9.2)."""
    tail = _DIGEST_INFO + hashlib.sha256(message).digest()
    return b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail
