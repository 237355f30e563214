"""What is said in which language, and how numbers and times are written: exact text, never through a float."""

from __future__ import annotations

import gettext
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from catchment.asset import Asset
from catchment.errors import Rejection
from catchment.records import cause_of, kind_of
from catchment.wallet import Place

LANGUAGES: Final = {"en": "English", "zh": "简体中文"}
TAGS: Final = {"en": "en", "zh": "zh-Hans"}
HERE: Final = Path(__file__).parent
DOMAIN: Final = "dashboard"


def _(text: str) -> str:
    """Marks a text for the catalogues; it is said in a language later."""
    return text


PLACES: Final[dict[Place, str]] = {
    Place.UM: _("UM"),
    Place.CM: _("CM"),
    Place.MARGIN_FREE: _("Cross Margin"),
    Place.MARGIN_LOCKED: _("Locked"),
    Place.BORROWED: _("Borrowed"),
    Place.INTEREST: _("Interest"),
    Place.OUTSIDE: _("Outside"),
    Place.MARKET: _("Market"),
}
TRIGGERS: Final = {
    "API": _("by API"),
    "BUTTON": _("by the button"),
    "OPERATOR": _("by the operator"),
    "SCHEDULE": _("by schedule"),
}
QUOTAS: Final = {
    "api_hour": _("Collections by API, in any 60 minutes"),
    "button_day": _("Collections by the button, this UTC day"),
    "shared_day": _("Collections by API or button, this UTC day"),
    "schedule_hour": _("Collections by schedule, in any 60 minutes"),
    "bnb_10m": _("BNB transfers, in any 10 minutes"),
    "auto_repay_day": _("Changes of Auto repay, this UTC day"),
}
DONE: Final = {
    "auto-collection": _("Collected"),
    "asset-collection": _("Collected"),
    "bnb-transfer": _("BNB transferred"),
    "repay-negative": _("Repaid"),
    "set-auto-repay": _("Auto repay switched"),
    "set-auto-collection": _("Auto-aggregate switched"),
}
"""What a person is told of a record they set off, by its kind."""
REASONS: Final = {
    "negative: a collection does not repay": _("negative: a collection does not repay"),
    "BNB in UM is never collected": _("BNB in UM is never collected"),
    "BNB in CM is kept by setting": _("BNB in CM is kept by setting"),
    "not asked for": _("not asked for"),
}
"""Why something stays, as `ledger/collection.py` says it."""
LOOKS: Final = {"auto": _("Look of the system"), "light": _("Light"), "dark": _("Dark")}
ICONS: Final = {
    "auto": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.5v11a5.5 5.5 0 0 1 0-11Z",
    "light": "M8 4.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7ZM7.3 0h1.4v2.6H7.3Zm0 13.4h1.4V16H7.3ZM0 7.3h2.6v1.4H0Z"
    "m13.4 0H16v1.4h-2.6Z",
    "dark": "M6.2 1.2a7 7 0 1 0 8.6 8.6A5.8 5.8 0 0 1 6.2 1.2Z",
}
"""The drawing on the button of each look."""
KINDS: Final = {
    "deposit": _("Deposit"),
    "withdrawal": _("Withdrawal"),
    "adjustment": _("Adjustment"),
    "margin-adjustment": _("Margin adjustment"),
    "auto-collection": _("Auto-collection"),
    "asset-collection": _("Collection of one asset"),
    "bnb-transfer": _("BNB transfer"),
    "repay-negative": _("Repayment of negative balances"),
    "set-auto-repay": _("Auto repay switched"),
    "set-auto-collection": _("Auto-aggregate switched"),
    "borrow": _("Loan"),
    "repay": _("Loan paid back"),
    "negative-interest": _("Interest on negative balances"),
    "auto-exchange": _("Auto-exchange"),
    "set-position": _("Position set"),
}
CAUSES: Final = TRIGGERS | {
    "REALIZED_PNL": _("realised profit or loss"),
    "FUNDING_FEE": _("funding fee"),
    "COMMISSION": _("commission"),
    "LOCK": _("lock"),
    "BORROW": _("loan"),
    "INTEREST": _("interest on a loan"),
}
"""What sets a record off: a trigger, or a reason."""
WINDOWS: Final = {"10 minutes": _("10 minutes"), "hour": _("hour"), "day": _("day")}
"""What a refusal tells of a quota's window."""


class Words:
    """One language: its texts, and the templates in it."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.tag = TAGS[language]
        self._texts = gettext.translation(DOMAIN, HERE / "locale", [language], fallback=language == "en")
        self.pages = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        self.pages.install_gettext_translations(self._texts, newstyle=True)  # type: ignore[attr-defined]
        self.pages.globals |= {
            "cause_of": cause_of,
            "causes": CAUSES,
            "clock_time": clock_time,
            "done": DONE,
            "icons": ICONS,
            "kind_of": kind_of,
            "kinds": KINDS,
            "languages": LANGUAGES,
            "looks": LOOKS,
            "places": PLACES,
            "quota_names": QUOTAS,
            "reasons": REASONS,
            "tags": TAGS,
            "triggers": TRIGGERS,
        }
        self.pages.filters |= {
            "figure": figure,
            "instant": instant,
            "moment": moment,
            "thousandths": thousandths,
            "say": self.say,
            "of": self.of,
        }

    def say(self, text: str) -> str:
        """A marked text in this language."""
        return self._texts.gettext(text) if text else ""

    def of(self, value: object, texts: Mapping[Any, str]) -> str:
        """What a value is called; what nobody has named is said as it is."""
        return self.say(texts.get(value, str(value)))

    def refusal(self, rejection: Rejection) -> str:
        """The sentence of a refusal."""
        sentence = self.say(rejection.refusal.sentence)
        details = tuple(self.of(detail, WINDOWS) for detail in rejection.details)
        return sentence % details if details else sentence


def figure(units: int, asset: Asset) -> Markup:
    """An amount to its last decimal. Digits stand in groups by style alone, so that what is copied is plain."""
    text = asset.fixed(units)
    whole, point, decimals = text.lstrip("-").partition(".")
    head = len(whole) % 3 or 3
    groups = [whole[:head], *(whole[at : at + 3] for at in range(head, len(whole), 3))]
    told = decimals.rstrip("0")
    sign = "-" if units < 0 else ""
    look = "n neg" if units < 0 else "n" if units else "n nil"
    shown = "".join(f"<span>{group}</span>" for group in groups)
    rest = decimals[len(told) :] if told else point + decimals
    written = f"{sign}{shown}{point if told else ''}{told}" + (f'<span class="z">{rest}</span>' if rest else "")
    return Markup(f'<data class="{look}" value="{text}">{written}</data>')  # noqa: S704 - digits and signs of our own


def moment(milliseconds: int) -> Markup:
    """A time in UTC, to the second, with the zone said."""
    at = datetime.fromtimestamp(milliseconds // 1_000, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"))


def instant(milliseconds: int) -> Markup:
    """A time in UTC, to the millisecond, with the zone said."""
    at = datetime.fromtimestamp(milliseconds // 1_000, UTC)
    shown = f"{at.strftime('%Y-%m-%d %H:%M:%S')}.{milliseconds % 1_000:03}"
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(), shown)


def thousandths(thousandth: int) -> str:
    """A number of thousandths, as a decimal number."""
    return f"{thousandth // 1_000}.{thousandth % 1_000:03}"


def clock_time(milliseconds: int) -> str:
    """The hour of a day, in UTC."""
    return datetime.fromtimestamp(milliseconds // 1_000, UTC).strftime("%H:%M UTC")


def chosen(cookie: str | None, accepted: str) -> str:
    """The language of a cookie, else the first of an Accept-Language header that there is, else English."""
    if cookie in LANGUAGES:
        return cookie
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:256].split(",")):
        tag, _, rest = part.strip().partition(";")
        quality = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", rest)
        wanted.append((-(float(quality[1]) if quality else 1.0), place, tag[:2].lower()))
    return next((tag for weight, _, tag in sorted(wanted) if weight and tag in LANGUAGES), "en")
