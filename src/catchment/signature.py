"""ApiKey; signing and verifying a payload (HMAC-SHA256, RSA, Ed25519); the receive window.

The payload is the query string followed by the body, bytes as received, without the `signature` pair (general-info
page). HMAC hex is compared without regard to case; RSA is PKCS#1 v1.5 with SHA-256; RSA and Ed25519 are base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import string
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from catchment import errors
from catchment.errors import Rejection

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_RECV_WINDOW_MS: Final = 60_000
DEFAULT_RECV_WINDOW_MS: Final = 5_000
MAX_AHEAD_MS: Final = 1_000

_ALPHABET = string.ascii_letters + string.digits
_HMAC_HEX_LENGTH = 64


class Algorithm(StrEnum):
    """How a key signs."""

    HMAC = "HMAC"
    RSA = "RSA"
    ED25519 = "ED25519"


class Permission(StrEnum):
    """What a key may do: READ for USER_DATA, TRADE for TRADE endpoints."""

    READ = "READ"
    TRADE = "TRADE"


class ApiKey(msgspec.Struct, frozen=True):
    """A key as the store keeps it. `material` is the sealed HMAC secret or the PEM of a public key, never a secret.

    `ip_allow` lists addresses; empty allows any. Times are milliseconds; `revoked` is 0 while the key lives.
    """

    api_key: str
    account: bytes
    algorithm: Algorithm
    material: bytes
    permissions: frozenset[Permission]
    ip_allow: tuple[str, ...]
    created: int
    revoked: int = 0


Verifier = Callable[[bytes, bytes], bool]
"""Takes a payload and a signature, percent-decoded; says whether the key made it. Never raises."""


def hmac_verifier(secret: bytes) -> Verifier:
    """A verifier of HMAC-SHA256 hex. The keyed state is computed once and copied for each payload."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.hmac import HMAC  # noqa: PLC0415 - its copy is twice as fast as the standard one

    keyed = HMAC(secret, SHA256())

    def verify(payload: bytes, signature: bytes) -> bool:
        if len(signature) != _HMAC_HEX_LENGTH:
            return False
        mac = keyed.copy()
        mac.update(payload)
        try:
            return hmac.compare_digest(mac.finalize(), binascii.unhexlify(signature))
        except binascii.Error:
            return False

    return verify


def public_key_verifier(pem: bytes) -> tuple[Algorithm, Verifier] | Rejection:
    """The algorithm and verifier of a PEM public key; refuses what is neither RSA nor Ed25519 (-4057)."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - a heavy import only such keys need
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return errors.BAD_PUBLIC_KEY()
    if isinstance(key, RSAPublicKey):
        return Algorithm.RSA, _rsa_verifier(key)
    if isinstance(key, Ed25519PublicKey):
        return Algorithm.ED25519, _ed25519_verifier(key)
    return errors.BAD_PUBLIC_KEY()


def _rsa_verifier(key: RSAPublicKey) -> Verifier:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    return _base64_verifier(lambda raw, payload: key.verify(raw, payload, PKCS1v15(), SHA256()))


def _ed25519_verifier(key: Ed25519PublicKey) -> Verifier:
    return _base64_verifier(key.verify)


def _base64_verifier(check: Callable[[bytes, bytes], None]) -> Verifier:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    def verify(payload: bytes, signature: bytes) -> bool:
        try:
            check(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def sign_hmac(secret: bytes, payload: bytes) -> str:
    """Lower-case hex of HMAC-SHA256, as clients send it."""
    return hmac.new(secret, payload, hashlib.sha256).hexdigest()


def refuse_window(timestamp: int, recv_window: int, now: int) -> Rejection | None:
    """The time rule of the general-info page, all in milliseconds: accepted only if `timestamp < now + 1000` and
    `now - timestamp <= recv_window`."""
    if recv_window > MAX_RECV_WINDOW_MS:
        return errors.BAD_RECV_WINDOW()
    if timestamp >= now + MAX_AHEAD_MS:
        return errors.TIMESTAMP_AHEAD()
    if now - timestamp > recv_window:
        return errors.TIMESTAMP_TOO_OLD()
    return None


def make_token() -> str:
    """64 random letters and digits: the shape of a live API key and of its secret."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(64))
