"""A record's events: a table of states, commands and what a subscriber is told, and what holds of all of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catchment.asset import Asset
from catchment.errors import Rejection
from catchment.ledger.balance import AccountState
from catchment.ledger.commands import Command, SetPosition
from catchment.ledger.journal import Record
from catchment.ledger.ledger import decide
from catchment.ledger.quota import Rules
from catchment.margin import Quotes
from catchment.stream.events import Event, level_moved, moved_on
from catchment.stream.user_data import UserData
from catchment.symbol import known_symbols
from catchment.wallet import Wallet
from tests.ledger.lines import ALICE, NOON, command_of, rows, state_of
from tests.ledger.test_properties import commands
from tests.papi.desk import open_desk, plain
from tests.stream.ear import Folded, balances, done, listening

ASSETS = {name: Asset(name, scale) for name, scale in (("USDT", 2), ("BTC", 4), ("BNB", 0))}
QUOTES = Quotes(ASSETS, known_symbols({}, ASSETS), {"BTCUSDT": 62_000 * 10**8, "BTCUSD_PERP": 50_000 * 10**8}, {}, {})

# An account's state | a command | UM, CM: reason asset=balance(change) | balanceUpdate | position free+locked | owed
TABLE = """
UM.USDT=500            | auto                            | UM ASSET_TRANSFER USDT=0.00(-5.00)               | USDT 5.00    | USDT 5.00+0.00    | -
UM.USDT=-500           | auto                            | -                                                | -            | -                 | -
-                      | auto                            | -                                                | -            | -                 | -
UM.USDT=500 CM.BTC=7 L.BTC=9 | auto                      | UM ASSET_TRANSFER USDT=0.00(-5.00), CM ASSET_TRANSFER BTC=0.0000(-0.0007) | USDT 5.00, BTC 0.0007 | USDT 5.00+0.00 BTC 0.0007+0.0009 | -
UM.USDT=1 CM.USDT=2 M.USDT=4 | auto                      | UM ASSET_TRANSFER USDT=0.00(-0.01), CM ASSET_TRANSFER USDT=0.00(-0.02) | USDT 0.03 | USDT 0.07+0.00 | -
UM.USDT=1 UM.BTC=2 UM.BNB=3 | auto                       | UM ASSET_TRANSFER USDT=0.00(-0.01) BTC=0.0000(-0.0002) | USDT 0.01, BTC 0.0002 | USDT 0.01+0.00 BTC 0.0002+0.0000 | -
UM.USDT=500            | collect USDT 200 UM             | UM ASSET_TRANSFER USDT=3.00(-2.00)               | USDT 2.00    | USDT 2.00+0.00    | -
-                      | deposit BNB 3                   | -                                                | BNB 3        | BNB 3+0           | -
M.USDT=500 L.USDT=20   | withdraw USDT 100               | -                                                | USDT -1.00   | USDT 4.00+0.20    | -
UM.USDT=1              | adjust UM USDT -500             | UM ORDER USDT=-4.99(0.00)                        | -            | -                 | -
-                      | adjust CM BTC 7 COMMISSION      | CM ORDER BTC=0.0007(0.0000)                      | -            | -                 | -
-                      | adjust UM USDT -5 FUNDING_FEE BTCUSDT | UM FUNDING_FEE USDT=-0.05(-0.05) BTCUSDT   | -            | -                 | -
M.USDT=500             | lock USDT 200                   | -                                                | -            | USDT 3.00+2.00    | -
L.USDT=500             | lock USDT -200                  | -                                                | -            | USDT 2.00+3.00    | -
I.USDT=-3              | borrow USDT 100                 | -                                                | USDT 1.00    | USDT 1.00+0.00    | USDT BORROW 1.00 0.00 1.03
B.USDT=-100 I.USDT=-3 M.USDT=90 | borrow USDT -40        | -                                                | USDT -0.40   | USDT 0.50+0.00    | USDT REPAY 0.40 0.00 0.63
B.USDT=-100            | interest USDT 2                 | -                                                | -            | -                 | USDT INTEREST 0.00 0.02 1.02
B.USDT=-100 I.USDT=-3  | interest USDT -2                | -                                                | -            | -                 | USDT REPAY 0.00 0.02 1.01
B.USDT=-100 I.USDT=-3 M.USDT=90 | repay USDT 40          | -                                                | USDT -0.40   | USDT 0.50+0.00    | USDT REPAY 0.37 0.03 0.63
M.BNB=9                | bnb 4 TO_UM                     | UM ASSET_TRANSFER BNB=4(4)                       | BNB -4       | BNB 5+0           | -
M.USDT=90 UM.USDT=-50 CM.USDT=-60 | fill                 | UM ASSET_TRANSFER USDT=0.00(0.50), CM ASSET_TRANSFER USDT=-0.20(0.40) | USDT -0.90 | USDT 0.00+0.00 | -
UM.USDT=-500           | charge 7 USDT:100:0.5           | UM ADJUSTMENT USDT=-7.00(-2.00)                  | -            | -                 | -
UM.USDT=-100 M.BNB=9   | exchange USDT@1/2 50 BNB@1/0    | UM AUTO_EXCHANGE USDT=-0.40(0.60)                | BNB -1       | BNB 8+0           | -
"""  # noqa: E501 - a table


def told(state_text: str, command_text: str) -> tuple[Record, list[Event]]:
    state = state_of(state_text)
    record = decide(ALICE, state, command_of(command_text), NOON, Rules())
    assert isinstance(record, Record), record
    return record, moved_on(state, record, Rules(), QUOTES, NOON + 7)


def plainly(events: list[Event]) -> list[Any]:
    found: list[Any] = msgspec.json.decode(msgspec.json.encode(events))
    return found


def line(events: list[Any], kind: str) -> str:
    """A cell of the table, from what is on the wire."""
    found = [event for event in events if event["e"] == kind]
    match kind:
        case "ACCOUNT_UPDATE":
            cells = [
                " ".join(
                    [event["fs"], event["a"]["m"]]
                    + [f"{held['a']}={held['wb']}({held['bc']})" for held in event["a"]["B"]]
                    + [event["a"][name] for name in event["a"] if name == "S"]
                )
                for event in found
            ]
        case "balanceUpdate":
            cells = [f"{event['a']} {event['d']}" for event in found]
        case "outboundAccountPosition":
            assert len(found) <= 1
            cells = [" ".join(f"{held['a']} {held['f']}+{held['l']}" for held in event["B"]) for event in found]
        case _:
            cells = [" ".join(event[name] for name in "atpil") for event in found]
    return ", ".join(cells) or "-"


ORDER = ["ACCOUNT_UPDATE", "balanceUpdate", "outboundAccountPosition", "liabilityChange"]


@pytest.mark.parametrize(("state", "command", "futures", "deltas", "position", "owed"), list(rows(TABLE, 6)))
def test_what_is_told_of_a_record(
    state: str, command: str, futures: str, deltas: str, position: str, owed: str
) -> None:
    events = plainly(told(state, command)[1])
    assert [line(events, kind) for kind in ORDER] == [futures, deltas, position, owed]
    places = [ORDER.index(event["e"]) for event in events]
    assert places == sorted(places), "each futures wallet, then Cross Margin, then what is owed"


def test_every_field_is_there_in_the_order_of_the_reference() -> None:
    record, events = told("UM.USDT=500 M.USDT=5 L.USDT=3", "auto")
    number, now = record.number, NOON + 7
    assert msgspec.json.encode(events).decode() == (
        f'[{{"e":"ACCOUNT_UPDATE","fs":"UM","E":{now},"T":{NOON},"i":"","a":{{"m":"ASSET_TRANSFER",'
        f'"B":[{{"a":"USDT","wb":"0.00","cw":"0.00","bc":"-5.00"}}],"P":[]}}}},'
        f'{{"e":"balanceUpdate","E":{now},"a":"USDT","d":"5.00","U":{number},"T":{NOON}}},'
        f'{{"e":"outboundAccountPosition","E":{now},"u":{NOON},"U":{number},'
        f'"B":[{{"a":"USDT","f":"5.05","l":"0.03"}}]}}]'
    )
    record, events = told("-", "borrow USDT 5")
    assert msgspec.json.encode(events[-1:]).decode() == (
        f'[{{"e":"liabilityChange","E":{now},"a":"USDT","t":"BORROW","T":{record.number},'
        f'"p":"0.05","i":"0.00","l":"0.05"}}]'
    )


def set_positions(*commands: SetPosition) -> list[list[Any]]:
    """What is told of each, one after the other."""
    state, told = AccountState(), []
    for command in commands:
        record = decide(ALICE, state, command, NOON, Rules())
        assert isinstance(record, Record)
        assert level_moved(record)
        told.append(plainly(moved_on(state, record, Rules(), QUOTES, NOON + 7)))
    return told


def test_a_position_is_told_with_its_profit() -> None:
    entry = 60_000 * 10**8
    um, cm, closed, strange = set_positions(
        SetPosition(Wallet.UM, "BTCUSDT", 5 * 10**7, entry),
        SetPosition(Wallet.CM, "BTCUSD_PERP", -600 * 10**8, entry, 20, "SHORT"),
        SetPosition(Wallet.UM, "BTCUSDT", 0, 0),
        SetPosition(Wallet.UM, "GONE", 1, 1),
    )
    assert um == [
        {
            "e": "ACCOUNT_UPDATE",
            "fs": "UM",
            "E": NOON + 7,
            "T": NOON,
            "i": "",
            "a": {
                "m": "ORDER",
                "B": [],
                "P": [
                    {
                        "s": "BTCUSDT",
                        "pa": "0.500",
                        "ep": "60000.0",
                        "cr": "0.00",
                        "up": "1000.00",  # 0.5 x 2000
                        "ps": "BOTH",
                        "bep": "60000.0",
                    }
                ],
            },
        }
    ]
    [update] = cm
    assert update["fs"] == "CM"
    [position] = update["a"]["P"]
    assert (position["pa"], position["ps"]) == ("-600", "SHORT")
    assert position["up"] == "0.2000", "60000 x (1 / 50000 - 1 / 60000) BTC"
    [position] = closed[0]["a"]["P"]
    assert (position["pa"], position["ep"], position["up"]) == ("0.000", "0.0", "0.00")
    assert strange == [], "the venue has no such symbol"


def test_a_new_leverage_is_told_before_the_position_and_an_old_one_is_not() -> None:
    told = set_positions(
        *(
            SetPosition(Wallet.UM, "BTCUSDT", amount, 100, leverage)
            for leverage, amount in ((20, 5), (25, 5), (25, 7), (25, 0), (20, 1))
        )
    )
    changed = {"e": "ACCOUNT_CONFIG_UPDATE", "fs": "UM", "E": NOON + 7, "T": NOON, "ac": {"s": "BTCUSDT", "l": 25}}
    assert [[event["e"] for event in events] for events in told] == [
        ["ACCOUNT_UPDATE"],
        ["ACCOUNT_CONFIG_UPDATE", "ACCOUNT_UPDATE"],
        ["ACCOUNT_UPDATE"],
        ["ACCOUNT_UPDATE"],
        ["ACCOUNT_UPDATE"],
    ]
    assert told[1][0] == changed


@pytest.mark.parametrize(
    ("state", "command", "moved"),
    [
        ("UM.USDT=500 CM.BTC=7", "auto", False),
        ("UM.USDT=500", "collect USDT 200 UM", False),
        ("M.USDT=500", "lock USDT 200", False),
        ("M.BNB=9", "bnb 4 TO_UM", False),
        ("-", "deposit BNB 3", True),
        ("M.USDT=500", "withdraw USDT 100", True),
        ("UM.USDT=1", "adjust UM USDT -500", True),
        ("-", "borrow USDT 5", True),
        ("B.USDT=-100", "interest USDT 2", True),
        ("UM.USDT=-500", "charge 7 USDT:100:0.5", True),
    ],
)
def test_what_can_change_the_level_of_risk(state: str, command: str, moved: bool) -> None:
    assert level_moved(told(state, command)[0]) is moved


def test_an_event_is_never_before_what_it_tells() -> None:
    """Another process's clock may be ahead of this one's."""
    state = state_of("UM.USDT=5")
    record = decide(ALICE, state, command_of("auto"), NOON, Rules())
    assert isinstance(record, Record)
    assert {event["E"] for event in plainly(moved_on(state, record, Rules(), QUOTES, NOON - 50))} == {NOON}


PEOPLE = """
[[account]]
name = "alice"
[[account.key]]
api_key = "alice"
secret = "alice-secret"
"""


@settings(max_examples=60)
@given(st.lists(commands(st.sampled_from(["USDT", "BTC", "BNB"]), st.integers(-20, 60)), max_size=25))
def test_folding_the_events_gives_the_balances_that_rest_gives(asked: list[Command]) -> None:
    with open_desk(PEOPLE) as desk:
        alice, folded = desk.account("alice"), Folded()

        async def play() -> list[Any]:
            made = UserData(desk.venue)
            ear, _ = await listening(made, desk.venue, alice)
            for answer in await desk.venue.submit_all([(alice, command) for command in asked]):
                assert isinstance(answer, Rejection) or answer.record.account == alice
            last = await done(desk.venue, alice, command_of("deposit USDT 1"))
            await ear.until_told(last)
            await made.close()
            return ear.events

        for event in desk.run(play()):
            folded.take(event)
        rest = balances(desk.get("balance", plain("alice")).json)
        assert folded.rows == {asset: row for asset, row in rest.items() if asset in folded.rows}
        assert all(not any(row.values()) for asset, row in rest.items() if asset not in folded.rows)
        assert folded.by_deltas == {
            asset: row["free"] + row["locked"] for asset, row in folded.rows.items() if asset in folded.by_deltas
        }
