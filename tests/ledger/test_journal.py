"""The chain: a record's digest covers everything in it and the record before it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchment.ledger.balance import GENESIS, AccountState, QuotaUse, decode_state, encode_state
from catchment.ledger.journal import Record, decode_record, digest_of
from catchment.ledger.ledger import apply, decide
from catchment.ledger.quota import Rules
from tests.ledger.lines import ALICE, BOB, NOON, command_of, state_of


def chain() -> list[Record]:
    state = AccountState()
    records = []
    for line in ("deposit USDT 5", "adjust UM USDT 3 FUNDING_FEE BTCUSDT", "auto"):
        record = decide(ALICE, state, command_of(line), NOON, Rules())
        assert isinstance(record, Record)
        apply(state, record, Rules())
        records.append(record)
    return records


RECORDS = chain()


def test_each_digest_follows_from_the_one_before() -> None:
    previous = GENESIS
    for record in RECORDS:
        assert record.digest == digest_of(ALICE, record.number, record.timestamp, record.text, previous)
        previous = record.digest


@given(st.sampled_from(RECORDS), st.data())
def test_any_changed_byte_breaks_the_chain(record: Record, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(record.text) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(record.text)
    damaged[place] ^= flip
    previous = ([GENESIS] + [earlier.digest for earlier in RECORDS])[record.number - 1]
    assert digest_of(ALICE, record.number, record.timestamp, bytes(damaged), previous) != record.digest


def test_a_digest_covers_the_account_the_number_the_time_and_the_one_before() -> None:
    text = RECORDS[0].text
    good = digest_of(ALICE, 1, NOON, text, GENESIS)
    others = {
        digest_of(BOB, 1, NOON, text, GENESIS),
        digest_of(ALICE, 2, NOON, text, GENESIS),
        digest_of(ALICE, 1, NOON + 1, text, GENESIS),
        digest_of(ALICE, 1, NOON, text, RECORDS[0].digest),
    }
    assert len(others) == 4
    assert good not in others


def test_a_record_survives_its_text() -> None:
    for record in RECORDS:
        again = decode_record(record.account, record.number, record.timestamp, record.text, record.digest)
        assert again == record


@pytest.mark.parametrize(
    "text", [b"", b"{", b"{}", b"[]", b'{"command":{"type":"Theft"},"transfers":[]}', RECORDS[0].text[:-1]]
)
def test_a_damaged_text_is_no_record(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_record(ALICE, 1, NOON, text, bytes(32))


def test_a_state_survives_its_text() -> None:
    state = state_of("nopm UM.USDT=-5 CM.BTC=MAX M.BNB=1 L.BNB=2 B.BNB=-3 I.BNB=-4")
    state.number, state.timestamp, state.digest = 7, NOON, RECORDS[0].digest
    state.quotas = {"api_hour": QuotaUse(NOON, 500)}
    assert decode_state(encode_state(state)) == state
    assert encode_state(decode_state(encode_state(state))) == encode_state(state)
