"""Negative futures balances as tables: repaying, interest, exchanges; and loans, BNB transfers and switches."""

import copy

import pytest

from catchment.errors import Rejection
from catchment.ledger.balance import AccountState, Position, Standing
from catchment.ledger.commands import (
    AutoCollection,
    NegativeInterest,
    RepayNegative,
    SetAutoCollection,
    SetAutoRepay,
    SetPosition,
    Terms,
    Trigger,
)
from catchment.ledger.journal import Found, Record
from catchment.ledger.ledger import POSITIONS, apply, decide
from catchment.ledger.quota import Rules
from catchment.wallet import Wallet
from tests.ledger.lines import ALICE, NOON, command_of, line_of, moves_of, rows, spelled, state_of

RULES = Rules()

# before                      | command                       | moves, or the refusal     | after ("=": as before)
BNB = """
M.BNB=5                       | bnb 2 TO_UM                   | M>UM BNB 2                | UM.BNB=2 M.BNB=3
UM.BNB=5                      | bnb 5 FROM_UM                 | UM>M BNB 5                | M.BNB=5
UM.BNB=5                      | bnb 6 FROM_UM                 | BALANCE_NOT_SUFFICIENT    | =
M.BNB=5 L.BNB=5               | bnb 6 TO_UM                   | BALANCE_NOT_SUFFICIENT    | =
UM.BNB=-5                     | bnb 1 FROM_UM                 | BALANCE_NOT_SUFFICIENT    | =
CM.BNB=5                      | bnb 1 FROM_UM                 | BALANCE_NOT_SUFFICIENT    | =
UM.BNB=-5 M.BNB=9             | bnb 7 TO_UM                   | M>UM BNB 7                | UM.BNB=2 M.BNB=2
M.BNB=5                       | bnb 0 TO_UM                   | AMOUNT_MUST_BE_POSITIVE   | =
M.BNB=5                       | bnb -1 FROM_UM                | AMOUNT_MUST_BE_POSITIVE   | =
M.BNB=5                       | bnb MAX+1 TO_UM               | BALANCE_NOT_SUFFICIENT    | =
nopm M.BNB=5                  | bnb 1 TO_UM                   | USER_IS_NOT_UNIACCOUNT    | =
"""

FILLING = """
UM.USDT=-5 M.USDT=9           | fill                          | M>UM USDT 5               | M.USDT=4
UM.USDT=-5 M.USDT=3           | fill                          | M>UM USDT 3               | UM.USDT=-2
UM.USDT=-5 CM.USDT=-5 M.USDT=7 | fill                         | M>UM USDT 5, M>CM USDT 2  | CM.USDT=-3
UM.USDT=-5 CM.USDT=9          | fill                          | -                         | UM.USDT=-5 CM.USDT=9
UM.USDT=-5 L.USDT=9           | fill                          | -                         | UM.USDT=-5 L.USDT=9
UM.USDT=-5 M.BTC=9            | fill                          | -                         | UM.USDT=-5 M.BTC=9
UM.BTC=-1 M.BTC=1 CM.ETH=-2 M.ETH=9 | fill BUTTON             | M>UM BTC 1, M>CM ETH 2    | M.ETH=7
UM.BNB=-1 M.BNB=1             | fill                          | M>UM BNB 1                | -
-                             | fill                          | -                         | -
nopm UM.USDT=-5 M.USDT=9      | fill                          | USER_IS_NOT_UNIACCOUNT    | =
UM.USDT=-5 M.USDT=9           | fill SCHEDULE                 | NOTHING_TO_DO             | =
"""

LOANS = """
-                             | loan USDT 5 5                 | B>M USDT 5                | M.USDT=5 B.USDT=-5
-                             | loan USDT 6 5                 | EXCEED_MAX_BORROWABLE     | =
M.USDT=5 B.USDT=-4 I.USDT=-1  | loan USDT 1 5                 | EXCEED_MAX_BORROWABLE     | =
M.USDT=5 B.USDT=-4            | loan USDT 1 5                 | B>M USDT 1                | M.USDT=6 B.USDT=-5
-                             | loan USDT 0 5                 | AMOUNT_MUST_BE_POSITIVE   | =
-                             | loan USDT 1 MAX+1             | INVALID_PARAMETER         | =
M.USDT=9 B.USDT=-5 I.USDT=-2  | repay USDT 1                  | M>I USDT 1                | M.USDT=8 B.USDT=-5 I.USDT=-1
M.USDT=9 B.USDT=-5 I.USDT=-2  | repay USDT 4                  | M>I USDT 2, M>B USDT 2    | M.USDT=5 B.USDT=-3
M.USDT=9 B.USDT=-5 I.USDT=-2  | repay USDT 7                  | M>I USDT 2, M>B USDT 5    | M.USDT=2
M.USDT=9 B.USDT=-5 I.USDT=-2  | repay USDT 8                  | REPAY_EXCEED_LIABILITY    | =
M.USDT=3 B.USDT=-5            | repay USDT 4                  | BALANCE_NOT_SUFFICIENT    | =
M.USDT=3                      | repay USDT 1                  | REPAY_EXCEED_LIABILITY    | =
M.USDT=3 B.USDT=-5            | repay USDT -1                 | AMOUNT_MUST_BE_POSITIVE   | =
"""

INTEREST = """
UM.USDT=-500                  | charge 7 USDT:100:0.01        | UM>MARKET USDT 4          | UM.USDT=-504
UM.USDT=-501                  | charge 7 USDT:100:0.01        | UM>MARKET USDT 5          | UM.USDT=-506
UM.USDT=-100                  | charge 7 USDT:100:0.01        | NOTHING_TO_DO             | =
UM.USDT=-200 CM.USDT=-300     | charge 7 USDT:100:0.01        | CM>MARKET USDT 4          | UM.USDT=-200 CM.USDT=-304
UM.USDT=-200 CM.USDT=900      | charge 7 USDT:0:0.01          | UM>MARKET USDT 2          | UM.USDT=-202 CM.USDT=900
UM.USDT=-200                  | charge 7 USDT:0:0             | NOTHING_TO_DO             | =
UM.USDT=-200                  | charge 7 BTC:0:0.1            | NOTHING_TO_DO             | =
UM.USDT=-200                  | charge 7                      | NOTHING_TO_DO             | =
UM.A=-1 CM.B=-9               | charge 7 B:0:1 A:0:1          | CM>MARKET B 9, UM>MARKET A 1 | UM.A=-2 CM.B=-18
UM.USDT=-200                  | charge 7 USDT:-1:0.1          | INVALID_PARAMETER         | =
UM.USDT=-200                  | charge 7 USDT:0:-0.1          | INVALID_PARAMETER         | =
UM.USDT=-200                  | charge 7 USDT:0:0.1 USDT:0:1  | INVALID_PARAMETER         | =
UM.USDT=-200                  | charge 0 USDT:0:0.1           | NOTHING_TO_DO             | =
"""

# The debt is brought from 100 to 80 % of 50, so 60 units are bought, at a price of 1 unless the line says otherwise.
EXCHANGE = """
UM.U=-100 M.B=9               | exchange U@1 50 B@10          | M>MARKET B 6, MARKET>UM U 60 | UM.U=-40 M.B=3
UM.U=-100 M.B=9               | exchange U@1 100 B@10         | NOTHING_TO_DO             | =
UM.U=-100 M.B=9               | exchange U@1 99 B@10          | M>MARKET B 3, MARKET>UM U 21 | UM.U=-79 M.B=6
UM.U=-100 M.B=9               | exchange U@1 50 B@7           | M>MARKET B 9, MARKET>UM U 60 | UM.U=-40
UM.U=-100 M.B=2               | exchange U@1 50 B@7           | M>MARKET B 2, MARKET>UM U 14 | UM.U=-86
UM.U=-100 M.B=9 M.C=9        | exchange U@1 50 B@10*.5 C@5 | M>MARKET C 9, M>MARKET B 2, MARKET>UM U 60 | UM.U=-40 M.B=7
UM.U=-100 M.U=25 M.B=9        | exchange U@1 50 B@10          | M>MARKET B 4, M>UM U 25, MARKET>UM U 35 | UM.U=-40 M.B=5
UM.U=-70 CM.U=-30 M.B=9       | exchange U@1 0 B@100          | M>MARKET B 1, MARKET>UM U 70, MARKET>CM U 30 | M.B=8
UM.U=-100 CM.U=500 M.B=9      | exchange U@1 50 B@10          | M>MARKET B 6, MARKET>UM U 60 | UM.U=-40 CM.U=500 M.B=3
UM.U=-100 L.B=9               | exchange U@1 50 B@10          | NOTHING_TO_DO             | =
UM.U=-100 M.B=9               | exchange U@1 50               | NOTHING_TO_DO             | =
UM.U=-100 M.B=90000           | exchange U@1 50 B@10/3        | M>MARKET B 6000, MARKET>UM U 60 | UM.U=-40 M.B=84000
UM.U=-100 M.B=9               | exchange U@1 50 B@0           | INVALID_PARAMETER         | =
UM.U=-100 M.B=9               | exchange U@1 50 B@1/19        | INVALID_PARAMETER         | =
UM.U=-100 M.B=9               | exchange U@1 50 B@1 B@2       | INVALID_PARAMETER         | =
UM.U=-100 M.B=9               | exchange U@1 -1 B@1           | INVALID_PARAMETER         | =
"""


@pytest.mark.parametrize("line", list(rows(BNB + FILLING + LOANS + INTEREST + EXCHANGE, 4)), ids=" | ".join)
def test_the_tables(line: tuple[str, ...]) -> None:
    before, asked, expected, after = map(spelled, line)
    state = state_of(before)
    kept = copy.deepcopy(state)
    answer = decide(ALICE, state, command_of(asked), NOON, RULES)
    assert state == kept
    if isinstance(answer, Rejection):
        assert (answer.name, "=") == (expected, after)
        return
    apply(state, answer, RULES)
    assert moves_of(answer) == expected
    assert line_of(state) == line_of(state_of(after))
    assert all(balance.places_sum() == 0 for balance in state.balances.values())


def done(state: AccountState, command: object) -> Record:
    answer = decide(ALICE, state, command, NOON, RULES)  # type: ignore[arg-type]
    assert isinstance(answer, Record), answer
    apply(state, answer, RULES)
    return answer


def refused(state: AccountState, command: object) -> str:
    answer = decide(ALICE, state, command, NOON, RULES)  # type: ignore[arg-type]
    assert isinstance(answer, Rejection), answer
    return answer.name


def test_what_interest_rests_on_is_kept() -> None:
    state = state_of("UM.USDT=-500 CM.BTC=-9")
    record = done(state, NegativeInterest(7, (Terms("USDT", 100, 10**6), Terms("BTC", 0, 10**8))))
    assert record.body.found == (Found("USDT", 400), Found("BTC", 9))


def test_a_day_is_charged_once() -> None:
    state = state_of("UM.USDT=-500")
    terms = (Terms("USDT", 100, 10**6),)
    done(state, NegativeInterest(7, terms))
    assert [refused(state, NegativeInterest(day, terms)) for day in (7, 6)] == ["NOTHING_TO_DO"] * 2
    done(state, NegativeInterest(8, terms))


def test_what_an_exchange_found_is_kept() -> None:
    record = done(state_of("UM.U=-100 M.B=9"), command_of("exchange U@1 50 B@10"))
    assert record.body.found == (Found("U", 100),)


def test_the_venue_repays_only_while_the_switch_is_on() -> None:
    state = state_of("UM.USDT=-5 M.USDT=9")
    done(state, SetAutoRepay(True, Trigger.API))
    assert moves_of(done(state, RepayNegative(Trigger.SCHEDULE))) == "M>UM USDT 5"
    assert refused(state, RepayNegative(Trigger.SCHEDULE)) == "NOTHING_TO_DO", "two processes leave one record"
    done(state, SetAutoRepay(False, Trigger.BUTTON))
    assert state.standing == Standing()


def test_the_venue_collects_only_while_the_switch_is_on() -> None:
    state = state_of("UM.USDT=5 UM.BNB=1")
    assert refused(state, AutoCollection(Trigger.SCHEDULE)) == "NOTHING_TO_DO"
    done(state, SetAutoCollection(True, Trigger.BUTTON))
    assert moves_of(done(state, AutoCollection(Trigger.SCHEDULE))) == "UM>M USDT 5"
    assert refused(state, AutoCollection(Trigger.SCHEDULE)) == "NOTHING_TO_DO"


@pytest.mark.parametrize("command", [SetAutoRepay(True, Trigger.API), SetAutoCollection(True, Trigger.API)])
def test_switches_are_for_portfolio_margin(command: object) -> None:
    assert refused(AccountState(portfolio_margin=False), command) == "USER_IS_NOT_UNIACCOUNT"


def test_a_position_is_set_changed_and_closed() -> None:
    state = AccountState()
    done(state, SetPosition(Wallet.UM, "BTCUSDT", -2 * 10**7, 60_000 * 10**8, 10))
    done(state, SetPosition(Wallet.UM, "BTCUSDT", 10**7, 61_000 * 10**8, side="LONG"))
    assert state.standing == Standing(
        positions={
            "UM:BTCUSDT:BOTH": Position(-2 * 10**7, 60_000 * 10**8, 10, NOON),
            "UM:BTCUSDT:LONG": Position(10**7, 61_000 * 10**8, 20, NOON),
        }
    )
    done(state, SetPosition(Wallet.UM, "BTCUSDT", 0, 0, side="LONG"))
    done(state, SetPosition(Wallet.UM, "BTCUSDT", 0, 0))
    assert state.standing == Standing()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (SetPosition(Wallet.MARGIN, "BTCUSDT", 1, 1), "UNSUPPORTED_OPERATION"),
        (SetPosition(Wallet.UM, "", 1, 1), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A:B", 1, 1), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A" * 33, 1, 1), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A", 2**63, 1), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A", 1, -1), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A", 1, 2**63), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A", 1, 1, 0), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A", 1, 1, 126), "INVALID_PARAMETER"),
        (SetPosition(Wallet.UM, "A", 1, 1, side="UP"), "INVALID_PARAMETER"),
    ],
)
def test_what_is_no_position(command: SetPosition, name: str) -> None:
    assert refused(AccountState(), command) == name


def test_positions_are_bounded() -> None:
    state = AccountState()
    for number in range(POSITIONS):
        done(state, SetPosition(Wallet.CM, f"S{number}", 1, 1))
    assert refused(state, SetPosition(Wallet.CM, "ONEMORE", 1, 1)) == "INVALID_PARAMETER"
    done(state, SetPosition(Wallet.CM, "S0", 2, 1))
    done(state, SetPosition(Wallet.CM, "S0", 0, 0))
    done(state, SetPosition(Wallet.CM, "ONEMORE", 1, 1))
