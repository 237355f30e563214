"""HMAC secrets are sealed before a store sees them; the master key is in the environment or in a file of mode 0600."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from catchment import errors
from catchment.errors import Refused

MASTER_KEY_VARIABLE: Final = "CATCHMENT_MASTER_KEY"
_MODE: Final = 0o600
_FORM: Final = "is 32 bytes in URL-safe base64"


class Vault:
    """Seals and opens secrets with Fernet (AES-128-CBC and HMAC-SHA256) under one master key."""

    def __init__(self, path: Path | None, environment: Mapping[str, str] = os.environ) -> None:
        """`path` is the file that holds the key when the environment does not; None keeps a key in memory only."""
        self._path = path
        self._key = _from_environment(environment)
        self.place = f"${MASTER_KEY_VARIABLE}" if self._key else str(path or "memory")

    def __repr__(self) -> str:
        return f"Vault({self.place})"

    def seal(self, secret: bytes) -> bytes:
        """The secret, encrypted; makes the master key if there is none yet."""
        from cryptography.fernet import Fernet  # noqa: PLC0415 - a heavy import that an empty store does not need

        return Fernet(self._load(create=True)).encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """The secret again. Refuses what another master key sealed."""
        from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415

        try:
            return Fernet(self._load(create=False)).decrypt(sealed)
        except InvalidToken:
            raise Refused(errors.WRONG_MASTER_KEY(self.place)) from None

    def fingerprint(self, create: bool) -> str:
        """Tells one master key from another without telling the key; empty if there is none and none is made."""
        if not create and self._key is None and (self._path is None or not self._path.exists()):
            return ""
        return hashlib.sha256(b"catchment master key:" + self._load(create)).hexdigest()

    def _load(self, create: bool) -> bytes:
        if self._key is None:
            self._key = self._from_file(create)
        return self._key

    def _from_file(self, create: bool) -> bytes:
        fresh = base64.urlsafe_b64encode(secrets.token_bytes(32))
        if self._path is None:
            return fresh
        try:
            if create and not self._path.exists():
                self._write_once(self._path, fresh)
            if self._path.stat().st_mode & 0o077:
                raise Refused(errors.BAD_SETTING(self._path, "the master key's file must have mode 0600"))
            key = self._path.read_bytes().strip()
        except OSError as error:
            raise Refused(errors.BAD_SETTING(self._path, error.strerror or "cannot be read")) from None
        if not _is_key(key):
            raise Refused(errors.BAD_SETTING(self._path, _FORM))
        return key

    @staticmethod
    def _write_once(path: Path, key: bytes) -> None:
        """Whole or not at all, and never over another process's key: written aside, then linked into place."""
        aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()


def _from_environment(environment: Mapping[str, str]) -> bytes | None:
    key = environment.get(MASTER_KEY_VARIABLE, "").strip().encode(errors="replace")
    if key and not _is_key(key):
        raise Refused(errors.BAD_SETTING(MASTER_KEY_VARIABLE, _FORM))
    return key or None


def _is_key(text: bytes) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == 32
    except ValueError:
        return False
