"""What one account must look like, worked out from commands alone: the auditor's own arithmetic.

It imports nothing of what it checks. Money is plain integers in dictionaries, uses are a plain list of times.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from decimal import Context, Decimal
from typing import Any, Final

from tests.simulation.history import Terms

TEN_MINUTES: Final = 600_000
HOUR: Final = 3_600_000
DAY: Final = 86_400_000
MOST: Final = 2**63 - 1
WORTH: Final = {"USDT": (1, 100), "BTC": (60_000, 95), "BNB": (600, 95)}
"""USD and the part that counts as collateral, in hundredths; the other assets that are played with have no price."""
INNER: Final = ("um", "cm", "margin_free", "margin_locked", "borrowed", "interest")

NOT_ENOUGH, OVERFLOW, NOT_ENROLLED, NOT_SUPPORTED = -2018, -1130, -21001, -1020
BAD_COMBINATION, NOT_POSITIVE, BAD_VALUE, QUOTA = -1128, -4055, -1130, -1003
OVER_LIMIT, OVER_DEBT, NOTHING_TO_DO = -51006, -3015, -90012

ENROLLED_ALONE: Final = frozenset(
    {"AutoCollection", "AssetCollection", "BnbTransfer", "RepayNegative", "SetAutoRepay", "SetAutoCollection"}
)

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
        self.auto_repay = self.auto_collection = False
        self.charged_day = 0
        self.times: dict[str, list[int]] = defaultdict(list)
        self.income: dict[str, list[dict[str, Any]]] = {"um": [], "cm": []}
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """Rows of the other histories, by the name of each, oldest first."""

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
        if command["type"] in ENROLLED_ALONE and not self.enrolled:
            return NOT_ENROLLED
        scheduled = command.get("trigger") == "SCHEDULE"
        match command["type"]:
            case "AutoCollection":
                moves = self._everything() if self.auto_collection or not scheduled else []
            case "RepayNegative":
                moves = self._into_holes() if self.auto_repay or not scheduled else []
            case "NegativeInterest":
                return [move for move, _ in self._interest(command)] or NOTHING_TO_DO
            case "AutoExchange":
                return self._exchange(command) or NOTHING_TO_DO
            case "SetAutoRepay" | "SetAutoCollection":
                return []
            case "AssetCollection":
                return self._one_asset(command["asset"], command.get("amount"), command.get("wallet"))
            case "Adjustment" | "MarginAdjustment":
                return self._adjusted(command)
            case _:
                return self._by_amount(command) if command["amount"] > 0 else NOT_POSITIVE
        return NOTHING_TO_DO if scheduled and not moves else moves

    def _adjusted(self, command: Command) -> list[Move] | int:
        asset, amount = command["asset"], command["amount"]
        if command.get("wallet") == "MARGIN":
            return NOT_SUPPORTED
        if command["type"] == "Adjustment":
            source, target = "market", command["wallet"].lower()
        else:
            source, target = _MARGIN_ENDS[command["reason"]]
            undoable = self.at(asset, target) if command["reason"] == "LOCK" else -self.at(asset, source)
            if -amount > max(undoable, 0):
                return NOT_ENOUGH
        if not amount:
            return BAD_VALUE
        return [(asset, amount, source, target) if amount > 0 else (asset, -amount, target, source)]

    def _by_amount(self, command: Command) -> list[Move] | int:
        asset, amount = command.get("asset", "BNB"), command["amount"]
        match command["type"]:
            case "Deposit":
                return [(asset, amount, "outside", "margin_free")]
            case "Withdrawal":
                return [(asset, amount, "margin_free", "outside")]
            case "BnbTransfer":
                ends = ("margin_free", "um") if command["side"] == "TO_UM" else ("um", "margin_free")
                return [("BNB", amount, *ends)] if amount <= self.at("BNB", ends[0]) else NOT_ENOUGH
            case "Borrow":
                owed = -self.at(asset, "borrowed") - self.at(asset, "interest")
                return [(asset, amount, "borrowed", "margin_free")] if owed + amount <= command["limit"] else OVER_LIMIT
        assert command["type"] == "Repay", command
        interest = min(amount, -self.at(asset, "interest"))
        if amount - interest > -self.at(asset, "borrowed"):
            return OVER_DEBT
        parts = (("interest", interest), ("borrowed", amount - interest))
        return [(asset, part, "margin_free", place) for place, part in parts if part]

    def _into_holes(self) -> list[Move]:
        """What Cross Margin has free of an asset goes into UM while that is negative, then into CM."""
        moves: list[Move] = []
        for asset, held in self.held.items():
            free = held.get("margin_free", 0)
            for wallet in ("um", "cm"):
                fill = min(max(-held.get(wallet, 0), 0), free)
                free -= fill
                if fill > 0:
                    moves.append((asset, fill, "margin_free", wallet))
        return moves

    def negative(self, asset: str) -> int:
        """Units below nothing in UM and CM; one does not help the other."""
        return sum(max(-self.at(asset, wallet), 0) for wallet in ("um", "cm"))

    def _interest(self, command: Command) -> list[tuple[Move, int]]:
        """For each asset what is taken, and the principal it is on."""
        charges = []
        for asset, threshold, rate in command["terms"] if command["day"] > self.charged_day else ():
            principal = self.negative(asset) - threshold
            fee = (principal * rate + 10**8 - 1) // 10**8
            wallet = "cm" if self.at(asset, "cm") < self.at(asset, "um") else "um"
            if principal > 0 and fee > 0:
                charges.append(((asset, fee, wallet, "market"), principal))
        return charges

    def _exchange(self, command: Command) -> list[Move]:
        """Down to four fifths of the most, by the asset's own free units and then by selling others."""
        asset, price, _, scale = command["debt"]
        if self.negative(asset) <= command["most"]:
            return []
        wanted = self.negative(asset) - command["most"] * 4 // 5
        own = min(wanted, self.at(asset, "margin_free"))
        wanted -= own
        moves: list[Move] = []
        bought = 0
        for _, other, its_price, its_scale in sorted((-rate, name, p, s) for name, p, rate, s in command["offers"]):
            # One unit of either, in the smallest common measure of value.
            worth, cost = its_price * 10**scale, price * 10**its_scale
            sold = min(self.at(other, "margin_free"), -(-(wanted - bought) * cost // worth))
            got = min(wanted - bought, sold * worth // cost)
            if other != asset and sold > 0 and got > 0:
                moves.append((other, sold, "margin_free", "market"))
                bought += got
        for wallet in ("um", "cm"):
            hole = max(-self.at(asset, wallet), 0)
            by_own = min(hole, own)
            by_bought = min(hole - by_own, bought)
            own, bought = own - by_own, bought - by_bought
            for source, amount in (("margin_free", by_own), ("market", by_bought)):
                if amount:
                    moves.append((asset, amount, source, wallet))
        return moves

    def found(self, command: Command) -> list[list[Any]]:
        """What the decision rests on beside the transfers."""
        if command["type"] == "NegativeInterest":
            return [[move[0], principal] for move, principal in self._interest(command)]
        return [[command["debt"][0], self.negative(command["debt"][0])]] if command["type"] == "AutoExchange" else []

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
        found = self.found(command)
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
        self._tell(number, time, command, moved, found)
        match command["type"]:
            case "SetAutoRepay":
                self.auto_repay = command["on"]
            case "SetAutoCollection":
                self.auto_collection = command["on"]
            case "NegativeInterest":
                self.charged_day = command["day"]
        for whose, *_ in self.quotas(command):
            self.times[whose].append(time)

    def _tell(self, number: int, time: int, command: Command, moved: list[Moved], found: list[list[Any]]) -> None:
        """Rows of the histories of loans, interest and exchanges."""
        kind, first = command["type"], number * 10**6
        if kind == "AutoExchange":
            (asset, negative), most = found[0], command["most"]
            self.told["exchange"].append({"time": time, "asset": asset, "negative": negative, "most": most})
        paid = {target: amount for _, amount, source, target, *_ in moved if source == "margin_free"}
        if kind in {"Repay", "MarginAdjustment"} and paid.keys() & {"borrowed", "interest"}:
            asset, interest, principal = moved[0][0], paid.get("interest", 0), paid.get("borrowed", 0)
            parts = {"amount": interest + principal, "interest": interest, "principal": principal}
            row: dict[str, Any] = {name: fixed(units, self.terms.scales[asset]) for name, units in parts.items()}
            self.told["repay"].append(row | {"asset": asset, "status": "CONFIRMED", "timestamp": time, "txId": first})
        rates = {asset: rate for asset, _, rate in command.get("terms", ())}
        for place, (asset, amount, source, *_) in enumerate(moved):
            text = fixed(amount, self.terms.scales[asset])
            charge = {"txId": first + place, "rawAsset": asset, "type": "PERIODIC"}
            row = {"asset": asset, "interest": text, "interestAccuredTime": time}
            if source == "borrowed":
                loan = {"txId": first + place, "asset": asset, "principal": text, "timestamp": time}
                self.told["loan"].append(loan | {"status": "CONFIRMED"})
            if source == "interest":
                self.told["charge"].append(row | charge)
            if kind == "NegativeInterest":
                on = fixed(found[place][1], self.terms.scales[asset])
                row |= {"interestRate": fixed(rates[asset], 8), "principal": on}
                self.told["interest"].append(row)
                self.told["charge"].append(row | charge | {"type": "PORTFOLIO"})

    def _income(
        self, wallet: str, asset: str, signed: int, time: int, tran_id: str, command: Command
    ) -> dict[str, Any]:
        kind = info = command["reason"] if command["type"] == "Adjustment" else "TRANSFER"
        if kind == "TRANSFER" and wallet == "cm":
            info = "WITHDRAW" if signed < 0 else "DEPOSIT"
        if command["type"] == "NegativeInterest":
            kind, info = "COMMISSION", "INTEREST"
        if command["type"] == "AutoExchange":
            kind, info = "AUTO_EXCHANGE" if wallet == "um" else "TRANSFER", "AUTO_EXCHANGE"
        return {
            "symbol": command.get("symbol", ""),
            "incomeType": kind,
            "income": fixed(signed, self.terms.scales[asset]),
            "asset": asset,
            "info": info,
            "time": time,
            "tranId": tran_id,
            "tradeId": "",
        }

    # Quotas --------------------------------------------------------------------------------------------------------

    def quotas(self, command: Command) -> list[tuple[str, int, int]]:
        """Whose uses are counted together, the limit, and the length of the window in ms; 0 is the UTC day."""
        terms, trigger = self.terms, command.get("trigger")
        match command["type"]:
            case "BnbTransfer":
                return [("BNB", 10, TEN_MINUTES)]
            case "SetAutoRepay":
                return [("SWITCH", 20, 0)]
            case "AutoCollection" if trigger == "SCHEDULE":
                return [("SCHEDULE", 12, HOUR)]
            case "AutoCollection" if trigger in {"API", "BUTTON"}:
                found = [("API", terms.api_per_hour, HOUR)] if trigger == "API" else []
                if terms.shared_daily:
                    return [("BOTH", terms.button_per_day, 0), *found]
                return found or [("BUTTON", terms.button_per_day, 0)]
        return []

    def used(self, counted: str, length: int, time: int) -> list[int]:
        """The times of the uses that count at `time`."""
        times = self.times[counted]
        return times[bisect_right(times, time - length) if length else bisect_left(times, time - time % DAY) :]

    def left(self, command: Command, time: int) -> list[tuple[int, int]]:
        """For each quota: how many uses are left at a time, and the limit."""
        time = max(time, self.last)
        quotas = self.quotas(command)
        return [(max(0, limit - len(self.used(whose, length, time))), limit) for whose, limit, length in quotas]

    def may(self, command: Command, time: int) -> bool:
        return all(left for left, _ in self.left(command, time))

    def refuses(self, command: Command, low: int, high: int, retry_after: int | None) -> bool:
        """Whether a quota refuses at some time between two, and lets in again after so many seconds."""
        low, high = max(low, self.last), max(high, self.last)
        for whose, limit, length in self.quotas(command):
            for time in (low, high):
                used = self.used(whose, length, time)
                if len(used) >= limit:
                    free = used[0] + length if length else time - time % DAY + DAY
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

    def figures(self) -> tuple[int, int, int, int, int]:
        """Equity, actual equity, initial and maintenance margin, and loans, in USD at 8 decimals.

        There are loans, which need a quarter and keep 8 %, and no positions.
        """
        equity = actual = initial = kept = loans = 0
        for asset in WORTH.keys() & self.held.keys():
            usd, counted = WORTH[asset]
            one = 10 ** self.terms.scales[asset]
            worth = sum(self.at(asset, place) for place in INNER) * usd * 10**8
            owed = -self.at(asset, "borrowed") - self.at(asset, "interest")
            actual += worth // one
            equity += worth * counted // (100 * one) if worth > 0 else worth // one
            initial += -(-owed // 4) * usd * 10**8 // one
            kept += -(-owed * 8 // 100) * usd * 10**8 // one
            loans += -(-owed * usd * 10**8 // one)
        return equity, actual, initial, kept, loans

    def may_owe(self, asset: str) -> int:
        """Units of an asset that may be owed in all: four times what could be withdrawn, less loans, and a million
        coins at most; no more than is owed already of what has no price."""
        owed = -self.at(asset, "borrowed") - self.at(asset, "interest")
        if asset not in WORTH:
            return owed
        equity, _, _, kept, loans = self.figures()
        usd = WORTH[asset][0]
        one: int = 10 ** self.terms.scales[asset]
        room = max(4 * max(equity + -kept * 12 // 10, 0) - loans, 0) * one // (usd * 10**8)
        return owed + max(min(room, min(10**6 * one, MOST) - owed), 0)

    def information(self) -> dict[str, Any]:
        equity, actual, initial, kept, _ = self.figures()
        share = min(equity * 10**8 // kept, 99_999_999 * 10**8) if kept else 99_999_999 * 10**8
        levels = {"NORMAL": 150, "MARGIN_CALL": 120, "REDUCE_ONLY": 105}
        status = next((level for level, over in levels.items() if share > over * 10**6), "FORCE_LIQUIDATION")
        return {
            "uniMMR": "99999999" if share == 99_999_999 * 10**8 else shortest(share, 8),
            "accountEquity": shortest(equity, 8),
            "actualEquity": shortest(actual, 8),
            "accountInitialMargin": shortest(initial, 8),
            "accountMaintMargin": shortest(kept, 8),
            "accountStatus": status if equity >= 0 else "BANKRUPTED",
            "virtualMaxWithdrawAmount": shortest(max(equity + -kept * 12 // 10, 0), 8),
            "totalAvailableBalance": shortest(equity - initial, 8),
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

    def history(self, kind: str, asked: dict[str, str], clock: int) -> list[dict[str, Any]]:
        """The rows of a window of at most 30 days, newest first, of all assets or of one."""
        until = int(asked.get("endTime", clock))
        since = max(int(asked["startTime"]), until - 30 * DAY) if "startTime" in asked else until - 7 * DAY
        return [
            row
            for row in reversed(self.told[kind])
            if since <= row.get("timestamp", row.get("interestAccuredTime", row.get("time"))) <= until
            and asked.get("asset", row["asset"]) == row["asset"]
        ]

    def page(self, kind: str, asked: dict[str, str], clock: int) -> dict[str, Any]:
        if "txId" in asked:
            rows = [row for row in self.told[kind] if row["txId"] == int(asked["txId"])]
            rows = [row for row in rows if row["asset"] == asked["asset"]]
            return {"rows": rows, "total": len(rows)}
        rows = self.history(kind, asked, clock)
        page, size = int(asked.get("current", 1)), int(asked.get("size", 10))
        return {"rows": rows[(page - 1) * size : page * size], "total": len(rows)}

    def exchanges(self, asked: dict[str, str]) -> list[tuple[int, str, Decimal, Decimal]]:
        """When, of what, how much was negative and how much may be."""
        low, high = int(asked["startTime"]), int(asked["endTime"])
        return [
            (
                row["time"],
                row["asset"],
                -Decimal(fixed(row["negative"], self.terms.scales[row["asset"]])),
                Decimal(fixed(row["most"], self.terms.scales[row["asset"]])),
            )
            for row in reversed(self.told["exchange"])
            if low <= row["time"] <= high
        ]

    def _text(self, asset: str, *places: str) -> str:
        return shortest(sum(self.at(asset, place) for place in places), self.terms.scales[asset])
