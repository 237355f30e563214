"""Reads the lines of the ledger's tables: states, commands and transfers as short text, in whole units."""

import re
from collections.abc import Iterator
from decimal import Decimal

from catchment.asset import MAX_UNITS
from catchment.ledger.balance import AccountId, AccountState, Balance
from catchment.ledger.commands import (
    Adjustment,
    AssetCollection,
    AutoCollection,
    AutoExchange,
    BnbTransfer,
    Borrow,
    Command,
    Deposit,
    MarginAdjustment,
    MarginReason,
    NegativeInterest,
    Offer,
    Reason,
    Repay,
    RepayNegative,
    Side,
    Terms,
    Trigger,
    Withdrawal,
)
from catchment.ledger.journal import Record
from catchment.wallet import Place, Wallet

ALICE = AccountId(b"alice".ljust(16, b"."))
BOB = AccountId(b"bob".ljust(16, b"."))
NOON = 1_790_078_400_000
"""A day's noon, UTC: far from a midnight in both directions."""

# What a line calls a place: M is free Cross Margin, L what orders lock in it, B what is borrowed, I its interest.
PLACES = {
    "UM": Place.UM,
    "CM": Place.CM,
    "M": Place.MARGIN_FREE,
    "L": Place.MARGIN_LOCKED,
    "B": Place.BORROWED,
    "I": Place.INTEREST,
    "OUT": Place.OUTSIDE,
    "MARKET": Place.MARKET,
}
LETTERS = {place: letters for letters, place in PLACES.items()}
SHOWN = ("UM", "CM", "M", "L", "B", "I")


def rows(table: str, columns: int) -> Iterator[tuple[str, ...]]:
    """The cells of each line that is neither empty nor a comment."""
    for line in table.strip().splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            cells = tuple(cell.strip() for cell in line.split("|"))
            assert len(cells) == columns, line
            yield cells


def units(text: str) -> int:
    """A whole number; MAX is the largest that fits in 63 bits."""
    number = re.fullmatch(r"(-?MAX)?([+-]?\d+)?", text)
    assert text, "an amount is missing"
    assert number is not None, text
    largest = {None: 0, "MAX": MAX_UNITS, "-MAX": -MAX_UNITS}[number[1]]
    return largest + int(number[2] or 0)


def state_of(text: str) -> AccountState:
    """`UM.USDT=5 M.BTC=1`, `-` for an empty account, `nopm` for one outside Portfolio Margin.

    Futures money came from the market and margin money from outside, so that the places of an asset sum to zero.
    """
    words = text.split()
    state = AccountState(portfolio_margin="nopm" not in words)
    for word in words:
        if word in {"-", "nopm"}:
            continue
        name, _, amount = word.partition("=")
        letters, _, asset = name.partition(".")
        balance = state.balances.setdefault(asset, Balance())
        setattr(balance, PLACES[letters], units(amount))
    for balance in state.balances.values():
        balance.market = -(balance.um + balance.cm + balance.interest)
        balance.outside = -(balance.margin + balance.borrowed)
    return state


def line_of(state: AccountState) -> str:
    """A state as `state_of` reads it: only what is not zero, in a fixed order."""
    words = [] if state.portfolio_margin else ["nopm"]
    for asset, balance in sorted(state.balances.items()):
        held = {letters: balance.at(PLACES[letters]) for letters in SHOWN}
        words += [f"{letters}.{asset}={amount}" for letters, amount in held.items() if amount]
    return " ".join(words) or "-"


def command_of(text: str) -> Command:
    """`deposit USDT 5`, `adjust UM USDT -5 FUNDING_FEE`, `lock USDT 5`, `auto BUTTON`, `collect USDT 5 UM`, ..."""
    verb, *words = text.split()
    match verb, words:
        case "deposit", [asset, amount]:
            return Deposit(asset, units(amount))
        case "withdraw", [asset, amount]:
            return Withdrawal(asset, units(amount))
        case "adjust", [wallet, asset, amount]:
            return Adjustment(Wallet(wallet), asset, units(amount), Reason.REALIZED_PNL)
        case "adjust", [wallet, asset, amount, reason, *symbol]:
            return Adjustment(Wallet(wallet), asset, units(amount), Reason(reason), *symbol)
        case "lock" | "borrow" | "interest", [asset, amount]:
            return MarginAdjustment(asset, units(amount), MarginReason(verb.upper()))
        case "auto", trigger:
            return AutoCollection(Trigger(*trigger or ["API"]))
        case "collect", [asset]:
            return AssetCollection(asset, Trigger.API)
        case "collect", [asset, amount, wallet]:
            given = None if amount == "none" else units(amount)
            return AssetCollection(asset, Trigger.API, given, None if wallet == "none" else Wallet(wallet))
    return account_command_of(text)


def account_command_of(text: str) -> Command:
    """`bnb 5 TO_UM`, `fill`, `loan USDT 5 9`, `repay USDT 5`, `charge 7 USDT:100:0.01`, `exchange U@1 50 B@10`."""
    verb, *words = text.split()
    match verb, words:
        case "bnb", [amount, side]:
            return BnbTransfer(units(amount), Side(side), Trigger.API)
        case "fill", trigger:
            return RepayNegative(Trigger(*trigger or ["API"]))
        case "loan", [asset, amount, limit]:
            return Borrow(asset, units(amount), units(limit))
        case "repay", [asset, amount]:
            return Repay(asset, units(amount))
        case "charge", [day, *terms]:
            return NegativeInterest(int(day), tuple(terms_of(word) for word in terms))
        case "exchange", [debt, most, *offers]:
            return AutoExchange(offer_of(debt), units(most), tuple(offer_of(word) for word in offers))
    raise AssertionError(text)


def terms_of(word: str) -> Terms:
    """`USDT:100:0.5`: a threshold in units, and a rate a day."""
    asset, threshold, rate = word.split(":")
    return Terms(asset, units(threshold), int(Decimal(rate) * 10**8))


def offer_of(word: str) -> Offer:
    """`BTC@60000`, `BTC@60000*0.95`, `JPY@0.5*1/0`: a price, a collateral rate (1), and a scale (0)."""
    asset, _, rest = word.partition("@")
    rest, _, scale = rest.partition("/")
    price, _, rate = rest.partition("*")
    return Offer(asset, int(Decimal(price) * 10**8), int(Decimal(rate or 1) * 10**8), int(scale or 0))


def moves_of(record: Record) -> str:
    """A record's transfers: `UM>M USDT 5, CM>M BTC 1`; `-` if nothing moved."""
    moves = (f"{LETTERS[move.source]}>{LETTERS[move.target]} {move.asset} {move.amount}" for move in record.transfers)
    return ", ".join(moves) or "-"


def spelled(text: str) -> str:
    """The cell of a table with MAX and its neighbours as plain numbers."""
    return re.sub(r"(?<![\w.])-?MAX([+-]\d+)?", lambda found: str(units(found[0])), text)
