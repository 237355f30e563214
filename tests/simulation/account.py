"""What one account must look like, worked out from commands alone: the auditor's own arithmetic.

It imports nothing of what it checks. Money is plain integers in dictionaries, uses are a plain list of times.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Context, Decimal
from typing import Any, Final

from tests.simulation.history import Terms

HOUR: Final = 3_600_000
DAY: Final = 86_400_000
MOST: Final = 2**63 - 1
STABLE: Final = frozenset({"USDT", "USDC", "FDUSD", "BFUSD", "RWUSD"})
INNER: Final = ("um", "cm", "margin_free", "margin_locked", "borrowed", "interest")

NOT_ENOUGH, OVERFLOW, NOT_ENROLLED, NOT_SUPPORTED = -2018, -1130, -21001, -1020
BAD_COMBINATION, NOT_POSITIVE, BAD_VALUE, QUOTA = -1128, -4055, -1130, -1003

Command = dict[str, Any]
Move = tuple[str, int, str, str]
Moved = tuple[str, int, str, str, int, int, int]
"""Asset, amount, source, target; what both hold afterwards; the balance's version."""

_EXACT = Context(prec=100)
_MARGIN_ENDS = {
    "LOCK": ("margin_free", "margin_locked"),
    "BORROW": ("borrowed", "margin_free"),
    "INTEREST": ("interest", "market"),
}


def fixed(units: int, scale: int) -> str:
    return format(Decimal(units).scaleb(-scale, _EXACT), "f")


def shortest(units: int, scale: int) -> str:
    whole, _, decimals = fixed(units, scale).partition(".")
    return "0.0" if not units else f"{whole}.{decimals.rstrip('0') or '0'}"


def whole_units(text: str, scale: int) -> tuple[int, int]:
    """Units of a decimal text and 0, or 0 and the code of the refusal."""
    try:
        units = Decimal(text).scaleb(scale, _EXACT)
    except ArithmeticError:
        return 0, BAD_VALUE
    if units != units.to_integral_value(context=_EXACT):
        return 0, -1111
    return (0, BAD_VALUE) if units > MOST else (int(units), 0)


class Account:
    """Holds what the records so far must have made of an account."""

    def __init__(self, terms: Terms, enrolled: bool) -> None:
        self.terms = terms
        self.enrolled = enrolled
        self.held: dict[str, dict[str, int]] = {}
        self.version: dict[str, int] = {}
        self.updated: dict[str, int] = {}
        self.last = 0
        self.times: dict[str, list[int]] = {"API": [], "BUTTON": [], "BOTH": []}
        self.income: dict[str, list[dict[str, Any]]] = {"um": [], "cm": []}

    def at(self, asset: str, place: str) -> int:
        return self.held.get(asset, {}).get(place, 0)

    def outcome(self, command: Command) -> list[Moved] | int:
        """What a command must move now, or the code it must be refused with; quotas apart."""
        moves = self._moves(command)
        if isinstance(moves, int):
            return moves
        after: dict[tuple[str, str], int] = {}
        version: dict[str, int] = {}
        moved = []
        for asset, amount, source, target in moves:
            left = after.get((asset, source), self.at(asset, source)) - amount
            there = after.get((asset, target), self.at(asset, target)) + amount
            if left < 0 and source in {"margin_free", "margin_locked"}:
                return NOT_ENOUGH
            if left < -MOST or there > MOST:
                return OVERFLOW
            after[asset, source], after[asset, target] = left, there
            version[asset] = version.get(asset, self.version.get(asset, 0)) + 1
            moved.append((asset, amount, source, target, left, there, version[asset]))
        return moved

    def _moves(self, command: Command) -> list[Move] | int:
        asset, amount = command.get("asset", ""), command.get("amount")
        match command["type"]:
            case "AutoCollection":
                return self._everything() if self.enrolled else NOT_ENROLLED
            case "AssetCollection":
                return self._one_asset(asset, amount, command.get("wallet")) if self.enrolled else NOT_ENROLLED
        assert isinstance(amount, int)
        match command["type"]:
            case "Deposit":
                return [(asset, amount, "outside", "margin_free")] if amount > 0 else NOT_POSITIVE
            case "Withdrawal":
                return [(asset, amount, "margin_free", "outside")] if amount > 0 else NOT_POSITIVE
            case "Adjustment":
                if command["wallet"] == "MARGIN":
                    return NOT_SUPPORTED
                source, target = "market", command["wallet"].lower()
            case "MarginAdjustment":
                source, target = _MARGIN_ENDS[command["reason"]]
                undoable = self.at(asset, target) if command["reason"] == "LOCK" else -self.at(asset, source)
                if -amount > max(undoable, 0):
                    return NOT_ENOUGH
            case other:
                raise ValueError(other)
        if not amount:
            return BAD_VALUE
        return [(asset, amount, source, target) if amount > 0 else (asset, -amount, target, source)]

    def _everything(self) -> list[Move]:
        moves: list[Move] = []
        for asset, held in self.held.items():
            for wallet in ("um", "cm"):
                stays = asset == "BNB" and (wallet == "um" or self.terms.keep_cm_bnb)
                if held.get(wallet, 0) > 0 and not stays:
                    moves.append((asset, held[wallet], wallet, "margin_free"))
        return moves

    def _one_asset(self, asset: str, amount: int | None, wallet: str | None) -> list[Move] | int:
        if asset == "BNB":
            return NOT_SUPPORTED
        if amount is None and wallet is None:
            return [(asset, self.at(asset, w), w, "margin_free") for w in ("um", "cm") if self.at(asset, w) > 0]
        if amount is None or wallet is None:
            return BAD_COMBINATION
        if wallet == "MARGIN":
            return NOT_SUPPORTED
        if amount <= 0:
            return NOT_POSITIVE
        if amount > self.at(asset, wallet.lower()):
            return NOT_ENOUGH
        return [(asset, amount, wallet.lower(), "margin_free")]

    def follow(self, number: int, time: int, command: Command, moved: list[Moved]) -> None:
        """The command was done at this time."""
        self.last = time
        for place, (asset, amount, source, target, left, there, version) in enumerate(moved):
            held = self.held.setdefault(asset, {})
            held[source], held[target] = left, there
            self.version[asset], self.updated[asset] = version, time
            for wallet, signed in ((source, -amount), (target, amount)):
                if wallet in self.income:
                    self.income[wallet].append(
                        self._income(wallet, asset, signed, time, f"{number}{place:06d}", command)
                    )
        trigger = command.get("trigger")
        if command["type"] == "AutoCollection" and trigger in {"API", "BUTTON"}:
            self.times[trigger].append(time)
            self.times["BOTH"].append(time)

    def _income(
        self, wallet: str, asset: str, signed: int, time: int, tran_id: str, command: Command
    ) -> dict[str, Any]:
        kind = command["reason"] if command["type"] == "Adjustment" else "TRANSFER"
        return {
            "symbol": command.get("symbol", ""),
            "incomeType": kind,
            "income": fixed(signed, self.terms.scales[asset]),
            "asset": asset,
            "info": "WITHDRAW" if kind == "TRANSFER" and wallet == "cm" else kind,
            "time": time,
            "tranId": tran_id,
            "tradeId": "",
        }

    # Quotas --------------------------------------------------------------------------------------------------------

    def quotas(self, trigger: str) -> list[tuple[str, int, bool]]:
        """Whose uses are counted together, the limit, and whether by the hour: what an auto-collection is under."""
        terms = self.terms
        found = []
        if terms.shared_daily and trigger != "OPERATOR":
            found.append(("BOTH", terms.button_per_day, False))
        elif trigger == "BUTTON":
            found.append(("BUTTON", terms.button_per_day, False))
        return [*found, ("API", terms.api_per_hour, True)] if trigger == "API" else found

    def used(self, counted: str, hourly: bool, time: int) -> list[int]:
        """The times of the uses that count at `time`."""
        times = self.times[counted]
        first = bisect_right(times, time - HOUR) if hourly else bisect_left(times, time - time % DAY)
        return times[first:]

    def left(self, trigger: str, time: int) -> list[tuple[int, int]]:
        """For each quota: how many uses are left at a time, and the limit."""
        time = max(time, self.last)
        quotas = self.quotas(trigger)
        return [(max(0, limit - len(self.used(whose, hourly, time))), limit) for whose, limit, hourly in quotas]

    def may_collect(self, trigger: str, time: int) -> bool:
        return all(len(self.used(whose, hourly, time)) < limit for whose, limit, hourly in self.quotas(trigger))

    def refuses(self, trigger: str, low: int, high: int, retry_after: int | None) -> bool:
        """Whether a quota refuses at some time between two, and lets in again after so many seconds."""
        low, high = max(low, self.last), max(high, self.last)
        for whose, limit, hourly in self.quotas(trigger):
            for time in (low, high):
                used = self.used(whose, hourly, time)
                if len(used) >= limit:
                    free = used[0] + HOUR if hourly else time - time % DAY + DAY
                    if retry_after is None or -((high - free) // 1000) <= retry_after <= max(
                        1, -((low - free) // 1000)
                    ):
                        return True
        return False

    # What the API must say of it -----------------------------------------------------------------------------------

    def balance(self) -> list[dict[str, Any]]:
        return [
            self.asset_balance(asset) | {"crossMarginAsset": self._text(asset, "margin_free", "margin_locked")}
            for asset in sorted(self.held)
        ]

    def asset_balance(self, asset: str) -> dict[str, Any]:
        below = sum(min(self.at(asset, wallet), 0) for wallet in ("um", "cm"))
        return {
            "asset": asset,
            "totalWalletBalance": self._text(asset, "um", "cm", "margin_free", "margin_locked"),
            "crossMarginBorrowed": shortest(-self.at(asset, "borrowed"), self.terms.scales[asset]),
            "crossMarginFree": self._text(asset, "margin_free"),
            "crossMarginInterest": shortest(-self.at(asset, "interest"), self.terms.scales[asset]),
            "crossMarginLocked": self._text(asset, "margin_locked"),
            "umWalletBalance": self._text(asset, "um"),
            "umUnrealizedPNL": "0.0",
            "cmWalletBalance": self._text(asset, "cm"),
            "cmUnrealizedPNL": "0.0",
            "negativeBalance": shortest(below, self.terms.scales[asset]),
            "updateTime": self.updated.get(asset, 0),
        }

    def information(self) -> dict[str, Any]:
        usd = 0
        for asset in STABLE & self.held.keys():
            usd += sum(self.at(asset, place) for place in INNER) * 10**8 // 10 ** self.terms.scales[asset]
        equity = shortest(usd, 8)
        return {
            "uniMMR": "99999999",
            "accountEquity": equity,
            "actualEquity": equity,
            "accountInitialMargin": "0.0",
            "accountMaintMargin": "0.0",
            "accountStatus": "NORMAL",
            "virtualMaxWithdrawAmount": shortest(max(usd, 0), 8),
            "totalAvailableBalance": equity,
            "totalMarginOpenLoss": "0.0",
            "updateTime": self.last,
        }

    def wallet(self, wallet: str) -> dict[str, Any]:
        zeros = dict.fromkeys(
            ("crossUnPnl", "maintMargin", "initialMargin", "positionInitialMargin", "openOrderInitialMargin"), "0"
        )
        rows = [
            {
                "asset": asset,
                "crossWalletBalance": self._text(asset, wallet),
                **zeros,
                "updateTime": self.updated[asset],
            }
            for asset in sorted(self.held)
        ]
        return {"assets": rows, "positions": []}

    def income_rows(self, wallet: str, asked: dict[str, str], clock: int) -> list[dict[str, Any]]:
        """The rows of a window of times; with a start the earliest, without one the latest."""
        days, kept = (7, 90) if wallet == "um" else (200, 200)
        until = int(asked.get("endTime", clock))
        since = max(int(asked.get("startTime", until - days * DAY)), clock - kept * DAY)
        limit = int(asked.get("limit", 100))
        rows = [
            row
            for row in self.income[wallet]
            if since <= row["time"] <= until and asked.get("incomeType", row["incomeType"]) == row["incomeType"]
        ]
        return rows[:limit] if "startTime" in asked else rows[-limit:]

    def _text(self, asset: str, *places: str) -> str:
        return shortest(sum(self.at(asset, place) for place in places), self.terms.scales[asset])
