"""The master key: where it is kept, that nobody else may read it, and that another one opens nothing."""

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catchment import vault as vault_module
from catchment.errors import Refused
from catchment.vault import MASTER_KEY_VARIABLE, Vault

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
NOTHING: dict[str, str] = {}


def refusal_of(vault: Vault) -> str:
    with pytest.raises(Refused) as refused:
        vault.seal(b"secret")
    assert "secret" not in str(refused.value)
    return f"{refused.value.rejection.name}: {refused.value}"


def test_what_is_sealed_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = Vault(path, NOTHING).seal(b"secret")
    assert b"secret" not in sealed
    assert Vault(path, NOTHING).open(sealed) == b"secret"


def test_the_same_secret_is_never_sealed_the_same(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "key", NOTHING)
    assert vault.seal(b"secret") != vault.seal(b"secret")


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = os.umask(0)  # the widest mode that could leak through
    try:
        Vault(path, NOTHING).seal(b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"], "what was written aside is gone"


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o640, 0o644, 0o660, 0o601, 0o666])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(mode)
    assert refusal_of(Vault(path, NOTHING)) == f"BAD_SETTING: Setting {path}: the master key's file must have mode 0600"


def test_a_read_only_file_serves(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o400)
    assert Vault(path, NOTHING).fingerprint(create=False) == Vault(None, {MASTER_KEY_VARIABLE: KEY}).fingerprint(False)


def test_no_key_is_made_before_one_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    vault = Vault(path, NOTHING)
    assert vault.fingerprint(create=False) == ""
    assert not path.exists()
    assert vault.fingerprint(create=True) == vault.fingerprint(create=False) != ""
    assert path.exists()


def test_opening_makes_no_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = Vault(None, NOTHING).seal(b"secret")
    with pytest.raises(Refused):
        Vault(path, NOTHING).open(sealed)
    assert not path.exists()


def test_of_many_that_begin_at_once_one_key_wins(tmp_path: Path) -> None:
    """The file is linked into place whole, so nobody reads half a key or writes over another's."""
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as threads:
        prints = set(threads.map(lambda _: Vault(path, NOTHING).fingerprint(create=True), range(40)))
    assert len(prints) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_key_that_appears_meanwhile_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    write_once = Vault._write_once

    def late(at: Path, key: bytes) -> None:
        at.write_text(KEY)
        at.chmod(0o600)
        write_once(at, key)

    monkeypatch.setattr(vault_module.Vault, "_write_once", staticmethod(late))
    assert Vault(path, NOTHING).fingerprint(create=True) == Vault(None, {MASTER_KEY_VARIABLE: KEY}).fingerprint(False)
    assert path.read_text() == KEY
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    vault = Vault(path, {MASTER_KEY_VARIABLE: KEY})
    assert vault.open(vault.seal(b"secret")) == b"secret"
    assert vault.place == f"${MASTER_KEY_VARIABLE}"
    assert not path.exists()


@pytest.mark.parametrize("text", ["short", "A" * 42 + "=", KEY[:-4], KEY + KEY, "é" * 44, "=" * 44])
def test_a_variable_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=MASTER_KEY_VARIABLE) as refused:
        Vault(None, {MASTER_KEY_VARIABLE: text})
    assert refused.value.rejection.name == "BAD_SETTING"
    assert text not in str(refused.value)


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    assert Vault(tmp_path / "key", {MASTER_KEY_VARIABLE: ""}).place == str(tmp_path / "key")


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 44, KEY.encode() * 2])
def test_a_file_that_holds_no_key_is_refused_by_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    assert refusal_of(Vault(path, NOTHING)).startswith(f"BAD_SETTING: Setting {path}: ")


def test_a_folder_that_cannot_hold_the_file_is_refused_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "key"
    assert refusal_of(Vault(path, NOTHING)).startswith(f"BAD_SETTING: Setting {path}: ")


def test_another_master_key_opens_nothing(tmp_path: Path) -> None:
    sealed = Vault(tmp_path / "one", NOTHING).seal(b"secret")
    other = Vault(tmp_path / "two", NOTHING)
    other.seal(b"x")
    with pytest.raises(Refused) as refused:
        other.open(sealed)
    assert refused.value.rejection.name == "WRONG_MASTER_KEY"
    assert str(tmp_path / "two") in str(refused.value)


@pytest.mark.parametrize("sealed", [b"", b"junk", b"gAAAAA" + b"A" * 100])
def test_what_was_never_sealed_is_refused(tmp_path: Path, sealed: bytes) -> None:
    vault = Vault(tmp_path / "key", NOTHING)
    vault.seal(b"x")
    with pytest.raises(Refused, match="master key"):
        vault.open(sealed)


def test_a_vault_in_memory_keeps_its_key_for_itself() -> None:
    vault, other = Vault(None, NOTHING), Vault(None, NOTHING)
    assert vault.open(vault.seal(b"secret")) == b"secret"
    assert vault.place == "memory"
    with pytest.raises(Refused):
        other.open(vault.seal(b"secret"))


def test_nothing_shows_the_key(tmp_path: Path) -> None:
    for vault in (Vault(tmp_path / "key", NOTHING), Vault(None, {MASTER_KEY_VARIABLE: KEY}), Vault(None, NOTHING)):
        vault.seal(b"secret")
        key = vault._load(create=False).decode()
        shown = f"{vault!r} {vault} {vault.place} {vault.fingerprint(create=False)}"
        assert key not in shown
        assert base64.urlsafe_b64decode(key).hex() not in shown
