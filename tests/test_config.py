"""Settings: where they come from, which source wins, and that a bad value is refused under its own name."""

from pathlib import Path
from typing import get_type_hints

import pytest

from catchment.config import SENTENCES, Settings, hide_password, load
from catchment.errors import Refused

NOTHING: dict[str, str] = {}


def written(folder: Path, text: str) -> Path:
    path = folder / "catchment.toml"
    path.write_text(text, "utf-8")
    return path


def test_every_setting_has_a_sentence() -> None:
    assert list(SENTENCES) == list(Settings.__struct_fields__) == list(get_type_hints(Settings))
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())


def test_defaults() -> None:
    settings = load(None, NOTHING)
    assert settings == Settings()
    assert (settings.host, settings.port, settings.store) == ("127.0.0.1", 8750, "")
    assert (settings.weight_per_minute, settings.quota_api_per_hour, settings.quota_button_per_day) == (6_000, 500, 10)
    assert (settings.quota_shared_daily, settings.collection_cm_bnb) == (False, "collect")


def test_a_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        port = 9000
        store = "memory:"
        assets = { PEPE = 4, WEI = 18 }
        prices = { BTC = "60000" }
        [quota]
        shared_daily = true
        api_per_hour = 5
        [collection]
        cm_bnb = "keep"
        """,
    )
    assert load(path, NOTHING) == Settings(
        port=9000,
        store="memory:",
        assets={"PEPE": 4, "WEI": 18},
        prices={"BTC": "60000"},
        quota_shared_daily=True,
        quota_api_per_hour=5,
        collection_cm_bnb="keep",
    )


def test_flat_names_and_sections_are_the_same(tmp_path: Path) -> None:
    flat = load(written(tmp_path, "quota_shared_daily = true\ncollection_cm_bnb = 'keep'"), NOTHING)
    assert flat == load(written(tmp_path, "[quota]\nshared_daily = true\n[collection]\ncm_bnb = 'keep'"), NOTHING)


def test_the_environment_reads_text() -> None:
    environment = {
        "CATCHMENT_PORT": "9001",
        "CATCHMENT_QUOTA_SHARED_DAILY": "true",
        "CATCHMENT_HOST": "::1",
        "CATCHMENT_MASTER_KEY": "is no setting",
        "CATCHMENT_ASSETS": "is read from a file only",
        "PORT": "1",
    }
    assert load(None, environment) == Settings(port=9001, quota_shared_daily=True, host="::1")


def test_given_beats_the_environment_and_that_beats_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "port = 1\nqueue = 1\nbatch = 1")
    settings = load(path, {"CATCHMENT_PORT": "2", "CATCHMENT_QUEUE": "2"}, port=3, queue=None)
    assert (settings.port, settings.queue, settings.batch) == (3, 2, 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 65536", "port"),
        ("port = -1", "port"),
        ("port = 'http'", "port"),
        ("port = 1.5", "port"),
        ("host = 7", "host"),
        ("queue = 0", "queue"),
        ("batch = 0", "batch"),
        ("weight_per_minute = 0", "weight_per_minute"),
        ("[quota]\napi_per_hour = 0", "quota_api_per_hour"),
        ("[quota]\nbutton_per_day = -1", "quota_button_per_day"),
        ("[quota]\nshared_daily = 'perhaps'", "quota_shared_daily"),
        ("[quota]\nhourly = 1", "quota_hourly"),
        ("[collection]\ncm_bnb = 'burn'", "collection_cm_bnb"),
        ("assets = { PEPE = 19 }", "assets"),
        ("assets = { PEPE = -1 }", "assets"),
        ("assets = 'PEPE'", "assets"),
        ("prices = { BTC = 60000 }", "prices"),
        ("weigth_per_minute = 1", "weigth_per_minute"),
        ("quota = 5", "quota"),
    ],
)
def test_a_bad_value_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(Refused) as refused:
        load(written(tmp_path, text), NOTHING)
    assert refused.value.rejection.name == "BAD_SETTING"
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"CATCHMENT_PORT": "eighty"}, "port"),
        ({"CATCHMENT_PORT": ""}, "port"),
        ({"CATCHMENT_QUOTA_SHARED_DAILY": "sometimes"}, "quota_shared_daily"),
        ({"CATCHMENT_COLLECTION_CM_BNB": "burn"}, "collection_cm_bnb"),
    ],
)
def test_a_bad_variable_is_refused_by_name(environment: dict[str, str], named: str) -> None:
    with pytest.raises(Refused, match=named) as refused:
        load(None, environment)
    assert refused.value.rejection.name == "BAD_SETTING"


def test_a_file_that_cannot_be_read_is_refused_by_its_path(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.toml", tmp_path, binary, written(tmp_path, "port = = 1")):
        with pytest.raises(Refused) as refused:
            load(path, NOTHING)
        assert refused.value.rejection.name == "BAD_SETTING"
        assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:s3cret@db.example:5432/venue", "postgresql://me@db.example:5432/venue"),
        ("postgresql://me:s3cret@one,two:5433/venue?ssl=require", "postgresql://me@one,two:5433/venue?ssl=require"),
        ("postgresql://me:s3@cr3t@db/venue", "postgresql://me@db/venue"),
        ("postgresql://me:s3/cr3t@db/venue", "postgresql://me@db/venue"),
        ("postgresql://me:s3?cr3t@db/venue", "postgresql://me@db/venue"),
        ("postgresql://me:s3\ncr3t@db/venue", "postgresql://me@db/venue"),
        ("postgres://me:5432@db/venue", "postgres://me@db/venue"),
        ("postgresql://:s3cret@/venue?host=/run", "postgresql://@/venue?host=/run"),
        ("postgresql:///venue?password=s3cret&user=me", "postgresql:///venue?password=***&user=me"),
        ("postgresql:///venue?sslpassword=s3cret", "postgresql:///venue?sslpassword=***"),
        ("postgresql://db:5432/venue?user=me@corp", "postgresql://db:5432/venue?user=me@corp"),
        ("postgresql://db/venue", "postgresql://db/venue"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("memory:", "memory:"),
        ("", ""),
    ],
)
def test_a_password_is_not_shown(address: str, shown: str) -> None:
    assert hide_password(address) == shown
    assert f"store={shown!r}" in repr(Settings(store=address))
