"""Amounts at the border: text to whole units and back, exact at every scale, and no text is too hostile."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchment.asset import MAX_AMOUNT_TEXT, MAX_SCALE, MAX_UNITS, Asset, valid_name
from catchment.errors import Rejection

SCALES = st.integers(0, MAX_SCALE)
UNITS = st.integers(-MAX_UNITS, MAX_UNITS)

# text                 | scale | units or the refusal
READINGS = """
0                      | 8  | 0
-0                     | 8  | 0
0.0                    | 0  | 0
.5                     | 1  | 5
5.                     | 1  | 50
+5                     | 0  | 5
-5                     | 0  | -5
007                    | 0  | 7
1                      | 8  | 100000000
0.00000001             | 8  | 1
-0.00000001            | 8  | -1
0.000000001            | 8  | BAD_PRECISION
0.000000010            | 8  | 1
1.000                  | 0  | 1
1.1                    | 0  | BAD_PRECISION
12345678901.12345679   | 8  | 1234567890112345679
1e-08                  | 8  | 1
1E-8                   | 8  | 1
1e-09                  | 8  | BAD_PRECISION
1E+2                   | 8  | 10000000000
1e2                    | 0  | 100
100e-2                 | 0  | 1
123e-2                 | 2  | 123
.5e1                   | 0  | 5
0e999                  | 8  | 0
0e-999                 | 8  | 0
9223372036854775807    | 0  | 9223372036854775807
-9223372036854775807   | 0  | -9223372036854775807
9223372036854775808    | 0  | AMOUNT_TOO_LARGE
-9223372036854775808   | 0  | AMOUNT_TOO_LARGE
92233720368.54775807   | 8  | 9223372036854775807
92233720368.54775808   | 8  | AMOUNT_TOO_LARGE
9.223372036854775807   | 18 | 9223372036854775807
10                     | 18 | AMOUNT_TOO_LARGE
1e19                   | 0  | AMOUNT_TOO_LARGE
1e999                  | 18 | AMOUNT_TOO_LARGE
1e-999                 | 18 | BAD_PRECISION
1e1000                 | 8  | INVALID_PARAMETER
                       | 8  | INVALID_PARAMETER
.                      | 8  | INVALID_PARAMETER
-                      | 8  | INVALID_PARAMETER
+-1                    | 8  | INVALID_PARAMETER
1e                     | 8  | INVALID_PARAMETER
e5                     | 8  | INVALID_PARAMETER
1.2.3                  | 8  | INVALID_PARAMETER
1,5                    | 8  | INVALID_PARAMETER
1_000                  | 8  | INVALID_PARAMETER
0x10                   | 8  | INVALID_PARAMETER
NaN                    | 8  | INVALID_PARAMETER
sNaN                   | 8  | INVALID_PARAMETER
Infinity               | 8  | INVALID_PARAMETER
-inf                   | 8  | INVALID_PARAMETER
"""


def readings() -> list[tuple[str, int, str]]:
    found = []
    for line in READINGS.strip("\n").splitlines():
        text, scale, outcome = (cell.strip() for cell in line.split("|"))
        found.append((text, int(scale), outcome))
    return found


@pytest.mark.parametrize(("text", "scale", "outcome"), readings())
def test_reading(text: str, scale: int, outcome: str) -> None:
    answer = Asset("USDT", scale).units(text)
    assert (answer.name if isinstance(answer, Rejection) else str(answer)) == outcome


@pytest.mark.parametrize(
    "text",
    ["1 ", " 1", "1\n", "\t1", "1\0", "\uff11", "\u0663", "1⁵", "½", "−1", "\ud800", "1" * (MAX_AMOUNT_TEXT + 1)],
)
def test_spaces_other_digits_and_long_texts_are_no_amounts(text: str) -> None:
    answer = Asset("USDT").units(text)
    assert isinstance(answer, Rejection)
    assert answer.code == -1130


def test_a_refusal_names_the_parameter() -> None:
    asset = Asset("USDT", 0)
    for text in ("x", "1e30"):
        answer = asset.units(text, "price")
        assert isinstance(answer, Rejection)
        assert answer.sentence == "Data sent for parameter 'price' is not valid."


@pytest.mark.parametrize(
    ("units", "scale", "text", "fixed"),
    [
        (0, 8, "0.0", "0.00000000"),
        (33025000000, 8, "330.25", "330.25000000"),
        (-33025000000, 8, "-330.25", "-330.25000000"),
        (1, 8, "0.00000001", "0.00000001"),
        (-1, 8, "-0.00000001", "-0.00000001"),
        (100000000, 8, "1.0", "1.00000000"),
        (100000000000, 8, "1000.0", "1000.00000000"),
        (0, 0, "0.0", "0"),
        (7, 0, "7.0", "7"),
        (-10, 0, "-10.0", "-10"),
        (MAX_UNITS, 18, "9.223372036854775807", "9.223372036854775807"),
        (MAX_UNITS, 0, "9223372036854775807.0", "9223372036854775807"),
    ],
)
def test_writing(units: int, scale: int, text: str, fixed: str) -> None:
    asset = Asset("USDT", scale)
    assert (asset.text(units), asset.fixed(units)) == (text, fixed)


@given(SCALES, UNITS)
def test_what_is_written_reads_as_itself(scale: int, units: int) -> None:
    asset = Asset("USDT", scale)
    assert asset.units(asset.text(units)) == units
    assert asset.units(asset.fixed(units)) == units


@given(SCALES, UNITS)
def test_what_is_written_is_the_number(scale: int, units: int) -> None:
    """Against decimal arithmetic that loses nothing, so a shifted point would show."""
    with localcontext(prec=60):
        number = Decimal(units).scaleb(-scale)
        assert Decimal(Asset("USDT", scale).text(units)) == number
        assert Decimal(Asset("USDT", scale).fixed(units)) == number


@given(SCALES, st.integers(-(10**20), 10**20), st.integers(-25, 25))
def test_exponent_forms_read_as_plain_forms(scale: int, coefficient: int, exponent: int) -> None:
    asset = Asset("USDT", scale)
    plain = f"{Decimal(f'{coefficient}e{exponent}'):f}"
    for text in (f"{coefficient}e{exponent}", f"{coefficient}E{exponent:+}", f"{coefficient}.0e{exponent:03}"):
        assert asset.units(text) == asset.units(plain)


@given(SCALES, st.text(max_size=80) | st.text("0123456789.eE+-_ ", max_size=80) | st.floats().map(repr))
def test_no_text_is_too_hostile(scale: int, text: str) -> None:
    answer = Asset("USDT", scale).units(text)
    assert isinstance(answer, Rejection) or abs(answer) <= MAX_UNITS


@given(st.text(max_size=30) | st.from_regex(r"[A-Z0-9]{0,22}", fullmatch=True))
def test_a_name_is_1_to_20_capitals_and_digits(name: str) -> None:
    letters = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    assert valid_name(name) == (0 < len(name) <= 20 and set(name) <= letters)


def test_names_of_the_venue_and_names_that_are_none() -> None:
    assert all(map(valid_name, ["USDT", "1INCH", "1000SATS", "A"]))
    assert not any(map(valid_name, ["", "usdt", "US DT", "USDT\n", "É", "\uff21", "A" * 21]))
