"""Both languages are complete, and numbers and times are written exactly."""

from __future__ import annotations

import gettext
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchment import errors
from catchment.asset import MAX_UNITS, Asset
from catchment.dashboard import words
from catchment.dashboard.words import Words, chosen, figure, moment
from catchment.ledger import collection
from catchment.ledger.quota import Rules, Window
from catchment.wallet import Place, Wallet

ROOT = Path(__file__).parents[2]


def catalogues() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogues", ROOT / "tools/catalogues.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts() -> list[str]:
    """Every text of the code, as it is now; of one with a plural, the singular."""
    found = [message.id for message in catalogues().texts() if message.id]
    return [text if isinstance(text, str) else text[0] for text in found]


def translated(language: str) -> gettext.NullTranslations:
    return gettext.translation(words.DOMAIN, words.HERE / "locale", [language])


def fields(text: str) -> list[str]:
    """The places of a text that something is filled into, in order if they have no names."""
    found = re.findall(r"%\(\w+\)s|%s", text)
    return sorted(found) if "%(" in text else found


def test_chinese_is_complete() -> None:
    chinese = translated("zh")
    missing = []
    for text in texts():
        said = chinese.gettext(text)
        said = chinese.ngettext(text, text, 2) if said == text else said
        if said == text and text not in {"API"}:
            missing.append(text)
        assert fields(said) == fields(text), text
    assert missing == [], "run `make locale` and translate these"


def test_nothing_is_translated_that_is_said_no_more() -> None:
    chinese = translated("zh")
    assert isinstance(chinese, gettext.GNUTranslations)
    kept = {key if isinstance(key, str) else key[0] for key in chinese._catalog}  # type: ignore[attr-defined]
    assert kept - set(texts()) <= {""}, "run `make locale`"


def test_every_refusal_is_said_in_chinese() -> None:
    chinese = Words("zh")
    for refusal in errors.REFUSALS:
        details = ["1"] * refusal.sentence.count("%s")
        assert chinese.refusal(refusal(*details)) != refusal(*details).sentence, refusal.name
    assert "500 次/小时" in chinese.refusal(errors.COLLECTION_QUOTA(500, Window.ROLLING_HOUR))


def test_the_names_of_the_ledger_have_words() -> None:
    assert set(words.PLACES) == set(Place)
    assert {rule.name for rules in (Rules(), Rules(shared_daily=True)) for rule in rules.in_force} <= {
        *words.QUOTAS,
        "bnb_pro_10m",  # of the Pro paths alone, and not shown
    }
    assert set(words.WINDOWS) == {str(window) for window in Window}
    reasons = {
        collection._why(asset, amount, wallet, bnb)
        for asset in ("BNB", "USDT")
        for amount in (-1, 1)
        for wallet in (Wallet.UM, Wallet.CM)
        for bnb in collection.CmBnb
    }
    assert reasons == set(words.REASONS)


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "zh", "zh"),
        (None, "zh-Hant-TW", "zh"),
        (None, "fr;q=1, zh;q=0.5, en;q=0.4", "zh"),
        (None, "fr, en;q=0.9, zh;q=0.8", "en"),
        (None, "zh;q=0, en;q=0.1", "en"),
        (None, "fr", "en"),
        (None, ";;;,q=x", "en"),
        ("zh", "en", "zh"),
        ("en", "zh", "en"),
        ("../etc", "zh", "zh"),
    ],
)
def test_the_language_is_chosen(cookie: str | None, accepted: str, language: str) -> None:
    assert chosen(cookie, accepted) == language


@given(st.integers(-MAX_UNITS, MAX_UNITS), st.integers(0, 18))
def test_a_figure_reads_and_copies_as_the_exact_amount(units: int, scale: int) -> None:
    asset = Asset("X", scale)
    html = str(figure(units, asset))
    exact = asset.fixed(units)
    assert re.sub(r"<[^>]*>", "", html) == exact
    assert f'value="{exact}"' in html
    assert ("neg" in html) == (units < 0)


def test_a_time_has_its_zone() -> None:
    assert re.sub(r"<[^>]*>", "", str(moment(1_790_000_000_999))) == "2026-09-21 14:13:20 UTC"
