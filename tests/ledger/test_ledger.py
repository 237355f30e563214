"""The rules of the ledger as tables: what was held, what was asked, what moved or was refused, what is held now."""

import copy

import pytest

from catchment.asset import MAX_UNITS
from catchment.errors import Rejection
from catchment.ledger.balance import GENESIS, AccountState, Balance, QuotaUse
from catchment.ledger.collection import CmBnb
from catchment.ledger.commands import Adjustment, AssetCollection, AutoCollection, Deposit, Reason, Trigger
from catchment.ledger.journal import Record
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from catchment.wallet import Wallet
from tests.ledger.lines import ALICE, NOON, command_of, line_of, moves_of, rows, spelled, state_of

RULES = Rules()
KEEP = Rules(cm_bnb=CmBnb.KEEP)

# before                      | command                       | moves, or the refusal     | after ("=": as before)
MONEY = """
-                             | deposit USDT 5                | OUT>M USDT 5              | M.USDT=5
M.USDT=1                      | deposit USDT 5                | OUT>M USDT 5              | M.USDT=6
B.USDT=-9                     | deposit USDT 5                | OUT>M USDT 5              | M.USDT=5 B.USDT=-9
UM.USDT=-9                    | deposit USDT 5                | OUT>M USDT 5              | UM.USDT=-9 M.USDT=5
nopm                          | deposit USDT 5                | OUT>M USDT 5              | nopm M.USDT=5
-                             | deposit USDT MAX              | OUT>M USDT MAX            | M.USDT=MAX
-                             | deposit USDT 0                | AMOUNT_MUST_BE_POSITIVE   | =
-                             | deposit USDT -1               | AMOUNT_MUST_BE_POSITIVE   | =
-                             | deposit USDT MAX+1            | BALANCE_OVERFLOW          | =
M.USDT=1                      | deposit USDT MAX              | BALANCE_OVERFLOW          | =
M.USDT=MAX                    | deposit USDT 1                | BALANCE_OVERFLOW          | =
M.USDT=MAX                    | deposit BTC 1                 | OUT>M BTC 1               | M.BTC=1 M.USDT=MAX

M.USDT=5                      | withdraw USDT 2               | M>OUT USDT 2              | M.USDT=3
M.USDT=5                      | withdraw USDT 5               | M>OUT USDT 5              | -
nopm M.USDT=5                 | withdraw USDT 5               | M>OUT USDT 5              | nopm
M.USDT=5                      | withdraw USDT 6               | BALANCE_NOT_SUFFICIENT    | =
M.USDT=5                      | withdraw BTC 1                | BALANCE_NOT_SUFFICIENT    | =
M.USDT=5                      | withdraw USDT MAX+1           | BALANCE_NOT_SUFFICIENT    | =
M.USDT=5 L.USDT=5             | withdraw USDT 6               | BALANCE_NOT_SUFFICIENT    | =
UM.USDT=5 CM.USDT=5           | withdraw USDT 1               | BALANCE_NOT_SUFFICIENT    | =
M.USDT=5                      | withdraw USDT 0               | AMOUNT_MUST_BE_POSITIVE   | =
M.USDT=5                      | withdraw USDT -1              | AMOUNT_MUST_BE_POSITIVE   | =
"""

ADJUSTMENTS = """
-                             | adjust UM USDT 5              | MARKET>UM USDT 5          | UM.USDT=5
-                             | adjust CM BTC 5               | MARKET>CM BTC 5           | CM.BTC=5
-                             | adjust UM BNB 5               | MARKET>UM BNB 5           | UM.BNB=5
UM.USDT=5                     | adjust UM USDT -2 COMMISSION  | UM>MARKET USDT 2          | UM.USDT=3
UM.USDT=5                     | adjust UM USDT -8 FUNDING_FEE | UM>MARKET USDT 8          | UM.USDT=-3
-                             | adjust UM USDT -8             | UM>MARKET USDT 8          | UM.USDT=-8
CM.BTC=-3                     | adjust CM BTC -8              | CM>MARKET BTC 8           | CM.BTC=-11
UM.USDT=-3                    | adjust UM USDT 3              | MARKET>UM USDT 3          | -
nopm                          | adjust UM USDT 5              | MARKET>UM USDT 5          | nopm UM.USDT=5
-                             | adjust UM USDT 0              | INVALID_PARAMETER         | =
-                             | adjust MARGIN USDT 5          | UNSUPPORTED_OPERATION     | =
-                             | adjust MARGIN USDT 0          | UNSUPPORTED_OPERATION     | =
-                             | adjust UM USDT MAX            | MARKET>UM USDT MAX        | UM.USDT=MAX
-                             | adjust UM USDT -MAX           | UM>MARKET USDT MAX        | UM.USDT=-MAX
-                             | adjust UM USDT MAX+1          | BALANCE_OVERFLOW          | =
-                             | adjust UM USDT -MAX-1         | BALANCE_OVERFLOW          | =
UM.USDT=MAX                   | adjust UM USDT 1              | BALANCE_OVERFLOW          | =
UM.USDT=-MAX                  | adjust UM USDT -1             | BALANCE_OVERFLOW          | =
UM.USDT=MAX                   | adjust CM USDT 1              | BALANCE_OVERFLOW          | =
"""

MARGIN = """
M.USDT=5                      | lock USDT 3                   | M>L USDT 3                | M.USDT=2 L.USDT=3
M.USDT=5                      | lock USDT 5                   | M>L USDT 5                | L.USDT=5
M.USDT=5                      | lock USDT 6                   | BALANCE_NOT_SUFFICIENT    | =
M.USDT=2 L.USDT=3             | lock USDT -3                  | L>M USDT 3                | M.USDT=5
M.USDT=2 L.USDT=3             | lock USDT -4                  | BALANCE_NOT_SUFFICIENT    | =
M.USDT=5                      | lock USDT -1                  | BALANCE_NOT_SUFFICIENT    | =
M.USDT=5                      | lock USDT 0                   | INVALID_PARAMETER         | =
-                             | borrow USDT 5                 | B>M USDT 5                | M.USDT=5 B.USDT=-5
M.USDT=5 B.USDT=-5            | borrow USDT 1                 | B>M USDT 1                | M.USDT=6 B.USDT=-6
M.USDT=5 B.USDT=-5            | borrow USDT -5                | M>B USDT 5                | -
M.USDT=5 B.USDT=-5            | borrow USDT -2                | M>B USDT 2                | M.USDT=3 B.USDT=-3
M.USDT=9 B.USDT=-5            | borrow USDT -6                | BALANCE_NOT_SUFFICIENT    | =
M.USDT=2 B.USDT=-5            | borrow USDT -3                | BALANCE_NOT_SUFFICIENT    | =
L.USDT=5 B.USDT=-5            | borrow USDT -3                | BALANCE_NOT_SUFFICIENT    | =
M.USDT=5                      | borrow USDT -1                | BALANCE_NOT_SUFFICIENT    | =
-                             | borrow USDT 0                 | INVALID_PARAMETER         | =
-                             | borrow USDT MAX               | B>M USDT MAX              | M.USDT=MAX B.USDT=-MAX
M.USDT=1                      | borrow USDT MAX               | BALANCE_OVERFLOW          | =
-                             | borrow USDT MAX+1             | BALANCE_OVERFLOW          | =
B.USDT=-5                     | interest USDT 2               | I>MARKET USDT 2           | B.USDT=-5 I.USDT=-2
-                             | interest USDT 2               | I>MARKET USDT 2           | I.USDT=-2
I.USDT=-2                     | interest USDT 1               | I>MARKET USDT 1           | I.USDT=-3
I.USDT=-2                     | interest USDT -2              | MARKET>I USDT 2           | -
I.USDT=-2                     | interest USDT -3              | BALANCE_NOT_SUFFICIENT    | =
-                             | interest USDT -1              | BALANCE_NOT_SUFFICIENT    | =
I.USDT=-2                     | interest USDT 0               | INVALID_PARAMETER         | =
I.USDT=-MAX                   | interest USDT 1               | BALANCE_OVERFLOW          | =
"""

AUTO = """
UM.USDT=5                     | auto                          | UM>M USDT 5               | M.USDT=5
CM.BTC=1                      | auto                          | CM>M BTC 1                | M.BTC=1
UM.USDT=5 CM.USDT=3           | auto                          | UM>M USDT 5, CM>M USDT 3  | M.USDT=8
UM.USDT=5 CM.BTC=1 M.USDT=2   | auto                          | UM>M USDT 5, CM>M BTC 1   | M.BTC=1 M.USDT=7
UM.USDT=5                     | auto BUTTON                   | UM>M USDT 5               | M.USDT=5
UM.USDT=5                     | auto OPERATOR                 | UM>M USDT 5               | M.USDT=5
# A negative balance stays and is not repaid, neither by the other wallet nor by Cross Margin.
UM.USDT=-5                    | auto                          | -                         | UM.USDT=-5
UM.USDT=-5 M.USDT=9           | auto                          | -                         | UM.USDT=-5 M.USDT=9
UM.USDT=-5 CM.USDT=9          | auto                          | CM>M USDT 9               | UM.USDT=-5 M.USDT=9
UM.USDT=9 CM.USDT=-5          | auto                          | UM>M USDT 9               | CM.USDT=-5 M.USDT=9
# Debts and locks in Cross Margin are left alone.
UM.USDT=5 B.USDT=-9 I.USDT=-1 | auto                          | UM>M USDT 5               | M.USDT=5 B.USDT=-9 I.USDT=-1
UM.USDT=5 M.USDT=1 L.USDT=2   | auto                          | UM>M USDT 5               | M.USDT=6 L.USDT=2
# BNB in UM never moves; BNB in CM moves, because only UM is named as the exception.
UM.BNB=5                      | auto                          | -                         | UM.BNB=5
UM.BNB=5 CM.BNB=3             | auto                          | CM>M BNB 3                | UM.BNB=5 M.BNB=3
UM.BNB=5 UM.USDT=3            | auto                          | UM>M USDT 3               | UM.BNB=5 M.USDT=3
CM.BNB=-3                     | auto                          | -                         | CM.BNB=-3
# Nothing to sweep is a success.
-                             | auto                          | -                         | -
M.USDT=5                      | auto                          | -                         | M.USDT=5
# All assets or none.
UM.USDT=1 CM.BTC=1 M.BTC=MAX  | auto                          | BALANCE_OVERFLOW          | =
UM.USDT=MAX CM.USDT=1         | auto                          | BALANCE_OVERFLOW          | =
UM.USDT=MAX                   | auto                          | UM>M USDT MAX             | M.USDT=MAX
nopm UM.USDT=5                | auto                          | USER_IS_NOT_UNIACCOUNT    | =
nopm                          | auto OPERATOR                 | USER_IS_NOT_UNIACCOUNT    | =
"""

AUTO_KEEPING_CM_BNB = """
UM.BNB=5 CM.BNB=3             | auto                          | -                         | UM.BNB=5 CM.BNB=3
CM.BNB=3 CM.BTC=2             | auto                          | CM>M BTC 2                | CM.BNB=3 M.BTC=2
"""

ASSET = """
UM.USDT=5                     | collect USDT                  | UM>M USDT 5               | M.USDT=5
CM.USDT=5                     | collect USDT                  | CM>M USDT 5               | M.USDT=5
UM.USDT=5 CM.USDT=3           | collect USDT                  | UM>M USDT 5, CM>M USDT 3  | M.USDT=8
UM.USDT=5 UM.BTC=1            | collect USDT                  | UM>M USDT 5               | UM.BTC=1 M.USDT=5
UM.USDT=-5 CM.USDT=3          | collect USDT                  | CM>M USDT 3               | UM.USDT=-5 M.USDT=3
UM.USDT=-5                    | collect USDT                  | -                         | UM.USDT=-5
-                             | collect USDT                  | -                         | -
UM.USDT=5 CM.USDT=3           | collect USDT 2 UM             | UM>M USDT 2               | UM.USDT=3 CM.USDT=3 M.USDT=2
UM.USDT=5 CM.USDT=3           | collect USDT 3 CM             | CM>M USDT 3               | UM.USDT=5 M.USDT=3
UM.USDT=5                     | collect USDT 6 UM             | BALANCE_NOT_SUFFICIENT    | =
UM.USDT=5                     | collect USDT 1 CM             | BALANCE_NOT_SUFFICIENT    | =
UM.USDT=-5                    | collect USDT 1 UM             | BALANCE_NOT_SUFFICIENT    | =
-                             | collect USDT 1 UM             | BALANCE_NOT_SUFFICIENT    | =
UM.USDT=5                     | collect USDT MAX+1 UM         | BALANCE_NOT_SUFFICIENT    | =
UM.USDT=5                     | collect USDT 0 UM             | AMOUNT_MUST_BE_POSITIVE   | =
UM.USDT=5                     | collect USDT -1 UM            | AMOUNT_MUST_BE_POSITIVE   | =
UM.USDT=-5                    | collect USDT -1 UM            | AMOUNT_MUST_BE_POSITIVE   | =
UM.USDT=5                     | collect USDT 5 none           | OPTIONAL_PARAMS_BAD_COMBO | =
UM.USDT=5                     | collect USDT 0 none           | OPTIONAL_PARAMS_BAD_COMBO | =
UM.USDT=5                     | collect USDT none UM          | OPTIONAL_PARAMS_BAD_COMBO | =
M.USDT=5                      | collect USDT none MARGIN      | OPTIONAL_PARAMS_BAD_COMBO | =
M.USDT=5                      | collect USDT 5 MARGIN         | UNSUPPORTED_OPERATION     | =
# BNB is refused before anything else about the command.
UM.BNB=5                      | collect BNB                   | UNSUPPORTED_OPERATION     | =
CM.BNB=5                      | collect BNB                   | UNSUPPORTED_OPERATION     | =
CM.BNB=5                      | collect BNB 1 CM              | UNSUPPORTED_OPERATION     | =
CM.BNB=5                      | collect BNB 1 none            | UNSUPPORTED_OPERATION     | =
UM.USDT=MAX M.USDT=1          | collect USDT                  | BALANCE_OVERFLOW          | =
UM.USDT=MAX M.USDT=1          | collect USDT MAX-1 UM         | UM>M USDT MAX-1           | UM.USDT=1 M.USDT=MAX
nopm UM.USDT=5                | collect USDT                  | USER_IS_NOT_UNIACCOUNT    | =
nopm UM.BNB=5                 | collect BNB                   | USER_IS_NOT_UNIACCOUNT    | =
"""

LINES: list[tuple[Rules, str, str, str, str]] = [
    (rules, before, command, outcome, after)
    for rules, table in (
        (RULES, MONEY),
        (RULES, ADJUSTMENTS),
        (RULES, MARGIN),
        (RULES, AUTO),
        (KEEP, AUTO_KEEPING_CM_BNB),
        (RULES, ASSET),
        (KEEP, ASSET),
    )
    for before, command, outcome, after in rows(table, columns=4)
]


@pytest.mark.parametrize(("rules", "before", "command", "outcome", "after"), LINES)
def test_line(rules: Rules, before: str, command: str, outcome: str, after: str) -> None:
    state = state_of(before)
    untouched = copy.deepcopy(state)
    answer = decide(ALICE, state, command_of(command), NOON, rules)
    assert state == untouched, "decide changed what it was given"
    if isinstance(answer, Rejection):
        assert (answer.name, "=") == (outcome, after)
        return
    apply(state, answer, rules)
    assert moves_of(answer) == spelled(outcome)
    assert line_of(state) == spelled(after)
    assert all(balance.places_sum() == 0 for balance in state.balances.values())


def test_the_codes_of_the_ledgers_refusals() -> None:
    """What a client sees for each refusal that the tables name."""
    lines = {outcome: (rules, before, command) for rules, before, command, outcome, after in LINES if after == "="}
    codes = {}
    for rules, before, command in lines.values():
        answer = decide(ALICE, state_of(before), command_of(command), NOON, rules)
        assert isinstance(answer, Rejection)
        codes[answer.name] = (answer.code, answer.status)
    assert codes == {
        "AMOUNT_MUST_BE_POSITIVE": (-4055, 400),
        "BALANCE_NOT_SUFFICIENT": (-2018, 400),
        "BALANCE_OVERFLOW": (-1130, 400),
        "INVALID_PARAMETER": (-1130, 400),
        "OPTIONAL_PARAMS_BAD_COMBO": (-1128, 400),
        "UNSUPPORTED_OPERATION": (-1020, 400),
        "USER_IS_NOT_UNIACCOUNT": (-21001, 400),
    }


def recorded(state: AccountState, command: str, now: int = NOON, rules: Rules = RULES) -> Record:
    """Decide, apply, and hand back the record; the command must be accepted."""
    answer = decide(ALICE, state, command_of(command), now, rules)
    assert isinstance(answer, Record), answer
    apply(state, answer, rules)
    return answer


def test_a_record_says_who_when_what_and_which() -> None:
    state = AccountState()
    first = recorded(state, "deposit USDT 5")
    second = recorded(state, "lock USDT 2", now=NOON + 7)
    assert (first.account, first.number, first.timestamp) == (ALICE, 1, NOON)
    assert (second.account, second.number, second.timestamp) == (ALICE, 2, NOON + 7)
    assert (state.number, state.timestamp, state.digest) == (2, NOON + 7, second.digest)
    assert first.command == Deposit("USDT", 5)
    assert GENESIS != first.digest != second.digest


def test_versions_and_times_belong_to_the_balance_that_was_touched() -> None:
    state = AccountState()
    recorded(state, "deposit USDT 5")
    recorded(state, "adjust UM BTC 3", now=NOON + 1)
    recorded(state, "adjust CM BTC 3", now=NOON + 2)
    swept = recorded(state, "auto", now=NOON + 3)
    assert [move.version for move in swept.transfers] == [3, 4], "each transfer of an asset counts one on"
    assert (state.balances["BTC"].version, state.balances["BTC"].updated) == (4, NOON + 3)
    assert (state.balances["USDT"].version, state.balances["USDT"].updated) == (1, NOON)


def test_a_later_transfer_sees_the_earlier_one() -> None:
    state = state_of("UM.USDT=5 CM.USDT=3 M.USDT=1")
    swept = recorded(state, "auto")
    assert [(move.source_after, move.target_after) for move in swept.transfers] == [(0, 6), (0, 9)]


def test_an_empty_sweep_is_recorded_and_counted() -> None:
    state = AccountState()
    empty = recorded(state, "auto")
    assert (empty.number, empty.transfers, empty.command) == (1, (), AutoCollection(Trigger.API))
    assert state.quotas == {"api_hour": QuotaUse(NOON, 1)}
    recorded(state, "collect USDT")
    assert (state.number, state.quotas) == (2, {"api_hour": QuotaUse(NOON, 1)}), "no quota counts asset-collections"


def test_time_never_runs_back_within_an_account() -> None:
    state = AccountState()
    recorded(state, "deposit USDT 5", now=NOON)
    late = recorded(state, "deposit USDT 5", now=NOON - 1)
    assert late.timestamp == NOON


def test_the_text_of_a_record() -> None:
    """The journal's form is what later versions must still read, so it stands here word for word."""
    state = state_of("UM.USDT=5")
    assert recorded(state, "collect USDT 5 UM").text == (
        b'{"command":{"type":"AssetCollection","asset":"USDT","trigger":"API","amount":5,"wallet":"UM"},'
        b'"transfers":[["USDT",5,"um","margin_free",0,5,1]]}'
    )
    assert recorded(state, "auto BUTTON").text == (
        b'{"command":{"type":"AutoCollection","trigger":"BUTTON"},"transfers":[]}'
    )
    assert recorded(state, "adjust CM BTC -1 FUNDING_FEE BTCUSD_PERP").text == (
        b'{"command":{"type":"Adjustment","wallet":"CM","asset":"BTC","amount":-1,"reason":"FUNDING_FEE",'
        b'"symbol":"BTCUSD_PERP"},"transfers":[["BTC",1,"cm","market",-1,1,1]]}'
    )


@pytest.mark.parametrize(
    "command",
    [
        Deposit("\ud800", 1),
        Deposit("USDT", 2**200),
        AssetCollection("\udfff", Trigger.API),
        Adjustment(Wallet.UM, "USDT", 1, Reason.COMMISSION, symbol="\ud800"),
    ],
)
def test_what_cannot_be_written_down_is_refused_by_value(command: Deposit | AssetCollection | Adjustment) -> None:
    """One hostile command must not take the batch it travels in with it."""
    assert isinstance(decide(ALICE, AccountState(), command, NOON, RULES), Rejection)


def test_a_balance_reads_as_the_wire_shows_it() -> None:
    balance = Balance(um=5, cm=-2, margin_free=3, margin_locked=4, borrowed=-6, interest=-1, outside=-1, market=-2)
    assert (balance.futures, balance.margin, balance.places_sum()) == (3, 7, 0)
    assert MAX_UNITS == 2**63 - 1
