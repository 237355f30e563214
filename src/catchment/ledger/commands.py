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


Command = Deposit | Withdrawal | Adjustment | MarginAdjustment | AutoCollection | AssetCollection
