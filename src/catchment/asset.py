"""Asset and its scale; text to whole units and back, at the border only.

Above the border an amount is text; below it, a whole number of the asset's smallest unit that fits in 63 bits. No
float touches an amount on either side.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

import msgspec

from catchment import errors
from catchment.errors import Rejection

MAX_UNITS: Final = 2**63 - 1
"""The largest amount and the largest balance, in units: what a signed 64-bit column holds."""

DEFAULT_SCALE: Final = 8
MAX_SCALE: Final = 18
MAX_AMOUNT_TEXT: Final = 64
"""The longest amount text read, in characters: a bound on the work a hostile parameter can cause."""

# Clients render floats, so `1e-08` and `1E+2` arrive beside plain decimals (docs/coverage.md).
_AMOUNT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_NAME = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)


class Asset(msgspec.Struct, frozen=True):
    """A coin and its number of decimals. `scale` never changes once a store knows the asset."""

    name: str
    scale: int = DEFAULT_SCALE

    def units(self, text: str, parameter: str = "amount") -> int | Rejection:
        """Whole units of a decimal text, signed; plain or exponent form.

        Refuses: not a number, or beyond 63 bits (-1130 naming `parameter`); more decimals than the scale (-1111).
        Trailing zeros beyond the scale are not precision and are accepted.
        """
        if len(text) > MAX_AMOUNT_TEXT or _AMOUNT.fullmatch(text) is None:
            return errors.INVALID_PARAMETER(parameter)
        sign, digits, exponent = Decimal(text).as_tuple()
        assert isinstance(exponent, int)  # the pattern admits neither NaN nor Infinity
        coefficient = int("".join(map(str, digits)))
        if coefficient == 0:
            return 0
        shift = exponent + self.scale
        if shift >= 0:
            if len(digits) + shift > 19 + MAX_AMOUNT_TEXT:
                return errors.AMOUNT_TOO_LARGE(parameter)
            factor: int = 10**shift
            units = coefficient * factor
        else:
            divisor: int = 10**-shift
            units, rest = divmod(coefficient, divisor)
            if rest:
                return errors.BAD_PRECISION()
        if units > MAX_UNITS:
            return errors.AMOUNT_TOO_LARGE(parameter)
        return -units if sign else units

    def text(self, units: int) -> str:
        """The shortest decimal text with at least one decimal: `330.25`, `0.0`, the style of live balances."""
        if units == 0:
            return "0.0"
        whole, _, decimals = self.fixed(units).partition(".")
        return f"{whole}.{decimals.rstrip('0') or '0'}"

    def fixed(self, units: int) -> str:
        """Decimal text with every decimal of the scale: `330.25000000`, the style of income rows and events."""
        sign = "-" if units < 0 else ""
        whole, decimals = divmod(abs(units), 10**self.scale)
        return f"{sign}{whole}.{decimals:0{self.scale}d}" if self.scale else f"{sign}{whole}"


def valid_name(name: str) -> bool:
    """Whether an asset may be called so: 1 to 20 capital letters and digits."""
    return _NAME.fullmatch(name) is not None
