"""What a collection leaves behind, and the reason it gives: nothing is left silently."""

import pytest

from catchment.errors import Rejection
from catchment.ledger.collection import CmBnb, Stay, stays
from catchment.ledger.ledger import decide
from catchment.ledger.quota import Rules
from catchment.wallet import Place
from tests.ledger.lines import ALICE, LETTERS, NOON, command_of, rows, state_of

WHY = {
    "owed": "negative: a collection does not repay",
    "bnb": "BNB in UM is never collected",
    "kept": "BNB in CM is kept by setting",
    "rest": "not asked for",
}

# before                | setting | command           | what stays, and why
LEFT = """
-                       | collect | auto              | -
UM.USDT=5 CM.BTC=3      | collect | auto              | -
M.USDT=5 L.USDT=1       | collect | auto              | -
UM.USDT=-5              | collect | auto              | UM USDT -5 owed
UM.USDT=-5 CM.USDT=-3   | collect | auto              | UM USDT -5 owed, CM USDT -3 owed
UM.BNB=5                | collect | auto              | UM BNB 5 bnb
UM.BNB=5 CM.BNB=3       | collect | auto              | UM BNB 5 bnb
UM.BNB=5 CM.BNB=3       | keep    | auto              | UM BNB 5 bnb, CM BNB 3 kept
UM.BNB=-5 CM.BNB=-3     | keep    | auto              | UM BNB -5 owed, CM BNB -3 owed
UM.USDT=5 UM.BTC=3      | collect | collect USDT      | UM BTC 3 rest
UM.USDT=5               | collect | collect USDT 2 UM | UM USDT 3 rest
UM.USDT=5 CM.USDT=4     | collect | collect USDT 5 UM | CM USDT 4 rest
"""


@pytest.mark.parametrize(("before", "setting", "command", "left"), list(rows(LEFT, columns=4)))
def test_what_stays(before: str, setting: str, command: str, left: str) -> None:
    state, choice = state_of(before), CmBnb(setting)
    answer = decide(ALICE, state, command_of(command), NOON, Rules(cm_bnb=choice))
    assert not isinstance(answer, Rejection)
    short = {sentence: word for word, sentence in WHY.items()}
    told = [f"{LETTERS[s.place]} {s.asset} {s.amount} {short[s.why]}" for s in stays(state, answer.transfers, choice)]
    assert (", ".join(told) or "-") == left


def test_everything_stays_when_nothing_moves() -> None:
    """A refused collection leaves what it would have moved, too."""
    assert stays(state_of("UM.USDT=5"), [], CmBnb.COLLECT) == [Stay("USDT", 5, Place.UM, "not asked for")]
