"""What may be asked of an account. A command is frozen; it says the intent, never the outcome.

Amounts are whole units of the asset. The same values, as JSON, are what the journal keeps.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from catchment.wallet import Wallet


class Trigger(StrEnum):
    """Who set a collection off; quotas are counted by it."""

    API = "API"
    BUTTON = "BUTTON"
    OPERATOR = "OPERATOR"
    SCHEDULE = "SCHEDULE"


class Reason(StrEnum):
    """Why a futures wallet changed by itself; the income type a client reads."""

    REALIZED_PNL = "REALIZED_PNL"
    FUNDING_FEE = "FUNDING_FEE"
    COMMISSION = "COMMISSION"


class MarginReason(StrEnum):
    """What an operator sets inside Cross Margin: units held by orders, a loan's principal, its interest."""

    LOCK = "LOCK"
    BORROW = "BORROW"
    INTEREST = "INTEREST"


class Side(StrEnum):
    """The way of a BNB transfer, as the wire names it."""

    TO_UM = "TO_UM"
    FROM_UM = "FROM_UM"


class Deposit(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Bring `amount` units (> 0) into Cross Margin: the only way in."""

    asset: str
    amount: int


class Withdrawal(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Take `amount` units (> 0) out of free Cross Margin: the only way out."""

    asset: str
    amount: int


class Adjustment(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Change a futures wallet (UM or CM) by `amount` units, signed, not 0; the wallet may become negative."""

    wallet: Wallet
    asset: str
    amount: int
    reason: Reason
    symbol: str = ""


class MarginAdjustment(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Set state that another system would make: lock, borrow or charge `amount` units, signed, not 0.

    LOCK moves free to locked, BORROW lends into free, INTEREST charges the loan; a negative amount undoes it.
    """

    asset: str
    amount: int
    reason: MarginReason


class AutoCollection(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Empty every positive futures balance of the account into Cross Margin; BNB in UM stays."""

    trigger: Trigger


class AssetCollection(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Collect one asset: all of it from UM and CM, or `amount` units (> 0) from `wallet`; both given, or neither."""

    asset: str
    trigger: Trigger
    amount: int | None = None
    wallet: Wallet | None = None


class BnbTransfer(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Move `amount` units (> 0) of BNB between Cross Margin and UM; `pro`: as a Portfolio Margin Pro account may."""

    amount: int
    side: Side
    trigger: Trigger
    pro: bool = False


class RepayNegative(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Fill what is negative in UM and CM out of free Cross Margin, asset by asset, as far as that goes."""

    trigger: Trigger


class SetAutoRepay(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Whether negative futures balances are repaid from Cross Margin before interest is charged."""

    on: bool
    trigger: Trigger


class SetAutoCollection(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Whether the venue collects by itself."""

    on: bool
    trigger: Trigger


class Borrow(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Borrow `amount` units (> 0) into Cross Margin; all that is owed of the asset stays within `limit` units."""

    asset: str
    amount: int
    limit: int


class Repay(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Pay back `amount` units (> 0) of a loan out of free Cross Margin: interest first, then principal."""

    asset: str
    amount: int


class Terms(msgspec.Struct, array_like=True, frozen=True):
    """On what of an asset interest is charged: what is beyond `threshold` units, at `rate` a day (8 decimals)."""

    asset: str
    threshold: int
    rate: int


class NegativeInterest(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Charge a UTC day's interest on negative futures balances; `day` counts from the epoch, and is charged once."""

    day: int
    terms: tuple[Terms, ...]


class Offer(msgspec.Struct, array_like=True, frozen=True):
    """An asset in an exchange: USD price and collateral rate at 8 decimals, and its scale."""

    asset: str
    price: int
    rate: int
    scale: int


class AutoExchange(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Bring what is negative of an asset, if it is more than `most` units, down to 80 % of that, by exchanging what is
    free in Cross Margin, the highest collateral rate first."""

    debt: Offer
    most: int
    offers: tuple[Offer, ...]


class SetPosition(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Set a position: `amount` (signed; 0 closes it) and `entry_price` at 8 decimals. There is no matching engine."""

    wallet: Wallet
    symbol: str
    amount: int
    entry_price: int
    leverage: int = 20
    side: str = "BOTH"


Command = (
    Deposit
    | Withdrawal
    | Adjustment
    | MarginAdjustment
    | AutoCollection
    | AssetCollection
    | BnbTransfer
    | RepayNegative
    | SetAutoRepay
    | SetAutoCollection
    | Borrow
    | Repay
    | NegativeInterest
    | AutoExchange
    | SetPosition
)
