"""The independent auditor: reads what was asked, what was answered and the journal's text, and says what is wrong.

It shares no code with the venue. It counts every weight and every use, works out every balance from the commands alone
(`account.py`), and holds each answer against some state the account had while the question was under way.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from tests.simulation.account import INNER, OVER_LIMIT, QUOTA, Account, Command, whole_units
from tests.simulation.history import UNANSWERED, Asked, Exchange, History, Key, Preview, Row

MINUTE: Final = 60_000
THREE_DAYS: Final = 3 * 86_400_000
TOLERATED: Final = 10
NOTICED_LATE_S: Final = 10
"""How much longer than usual a look at the keys may take: it waits while a reading is slow."""
WEIGHTS: Final = {
    ("POST", "/papi/v1/auto-collection"): 750,
    ("POST", "/papi/v1/asset-collection"): 30,
    ("GET", "/papi/v1/balance"): 20,
    ("GET", "/papi/v1/account"): 20,
    ("GET", "/papi/v1/um/account"): 5,
    ("GET", "/papi/v2/um/account"): 5,
    ("GET", "/papi/v1/cm/account"): 5,
    ("GET", "/papi/v1/um/income"): 30,
    ("GET", "/papi/v1/cm/income"): 30,
    ("POST", "/papi/v1/bnb-transfer"): 750,
    ("GET", "/papi/v1/repay-futures-switch"): 30,
    ("POST", "/papi/v1/repay-futures-switch"): 750,
    ("POST", "/papi/v1/repay-futures-negative-balance"): 750,
    ("POST", "/papi/v1/marginLoan"): 100,
    ("POST", "/papi/v1/repayLoan"): 100,
    ("GET", "/papi/v1/margin/marginLoan"): 10,
    ("GET", "/papi/v1/margin/repayLoan"): 10,
    ("GET", "/papi/v1/margin/marginInterestHistory"): 1,
    ("GET", "/papi/v1/portfolio/interest-history"): 50,
    ("GET", "/papi/v1/portfolio/negative-balance-exchange-record"): 100,
    ("GET", "/papi/v1/ping"): 1,
    ("GET", "/papi/v1/time"): 1,
}
READERS_MAY: Final = "/papi/v1/repay-futures-negative-balance"
"""The one call that moves money and asks for no right to trade."""
OPEN: Final = frozenset({"/papi/v1/ping", "/papi/v1/time"})
HISTORIES: Final = {
    "/papi/v1/margin/marginLoan": "loan",
    "/papi/v1/margin/repayLoan": "repay",
    "/papi/v1/margin/marginInterestHistory": "charge",
    "/papi/v1/portfolio/interest-history": "interest",
    "/papi/v1/portfolio/negative-balance-exchange-record": "exchange",
}
NOTHING_HAPPENED: Final = frozenset({-1001, -1016})
PERHAPS: Final = frozenset({-1007, None})
"""Codes after which a command may be in the journal; None is no answer at all."""
STATUS: Final = {-1001: 503, -1007: 503, -1016: 503, -2014: 401, -2015: 401, -5000: 404, QUOTA: 429}


@dataclass(slots=True)
class Given:
    """A command that was asked for, and where in the journal its record must or may be."""

    what: Asked
    account: str
    command: Command
    code: int | None
    """0 when it was done."""
    retry_after: int | None = None

    @property
    def last(self) -> int:
        return self.what.after if self.what.after != UNANSWERED else int(1e18)


@dataclass(slots=True)
class Claim:
    """What an answer says of an account: true of at least one state it had from `first` to `last`."""

    first: int
    last: int
    holds: Callable[[Account], bool]
    says: str


@dataclass(slots=True)
class Caller:
    """What one server remembers of one address."""

    minute: int = 0
    spent: int = 0
    refused: int = 0
    bans: int = 0
    until: int = 0


def code_of(exchange: Exchange) -> int | None:
    """0 for a success, the refusal's code, None for no answer."""
    if exchange.status == 0:
        return None
    if exchange.status == 200:
        return 0
    code: int = json.loads(exchange.answer)["code"]
    return code


class Auditor:
    """`audit` gives the findings, in words; none is what everybody hopes for."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.terms = history.terms
        self.findings: list[str] = []
        self._callers: dict[tuple[int, str], Caller] = {}
        self._given: list[Given] = []
        self._claims: dict[str, list[Claim]] = defaultdict(list)
        self._vain: dict[int, list[float]] = defaultdict(list)
        self._rows: dict[str, list[tuple[Row, Command, list[Any], list[Any]]]] = defaultdict(list)
        """By account: its records, each with its command, its transfers and what was found."""
        self._places: dict[str, list[int]] = defaultdict(list)
        """By account: the sequences of its records."""

    def audit(self) -> list[str]:
        for server, at in self.history.looked_in_vain:
            self._vain[server].append(at)
        self._read_journal()
        for exchange in self.history.exchanges:
            self._exchange(exchange)
        for order in self.history.orders:
            self._order_answered(order)
            given = Given(order, order.account, json.loads(order.command), order.code, order.retry_after)
            self._command(given, "a direct command")
        for preview in self.history.previews:
            self._preview(preview)
        self._match()
        for account in self.history.accounts:
            self._replay(account)
        self._conservation()
        return self.findings

    def _find(self, sentence: str) -> None:
        self.findings.append(sentence)

    # The journal's own shape -----------------------------------------------------------------------------------------

    def _read_journal(self) -> None:
        chain: dict[str, bytes] = {}
        for place, row in enumerate(self.history.journal, 1):
            if row.sequence != place:
                self._find(f"record {place} of the journal has sequence {row.sequence}")
            if row.account not in self.history.accounts:
                self._find(f"record {place} is of an account nobody made")
                continue
            own = self._rows[row.account]
            if row.number != len(own) + 1:
                self._find(f"record {place}: number {row.number} follows {len(own)}")
            account = bytes.fromhex(row.account)
            covered = account + f"{row.number}:{row.timestamp}:".encode() + row.text
            chain[row.account] = hashlib.sha256(chain.get(row.account, bytes(32)) + covered).digest()
            if chain[row.account] != row.digest:
                self._find(f"record {place}: the digest does not follow")
                chain[row.account] = row.digest
            body = json.loads(row.text)
            own.append((row, body["command"], body["transfers"], body.get("found", [])))
            self._places[row.account].append(row.sequence)

    def _conservation(self) -> None:
        """What is inside the venue is what commands brought in, by the two columns of the journal's text alone."""
        inside: Counter[str] = Counter()
        brought: Counter[str] = Counter()
        for rows in self._rows.values():
            for row, command, transfers, _ in rows:
                for asset, amount, source, target, *_ in transfers:
                    if command["type"] in {"NegativeInterest", "AutoExchange"}:
                        brought[asset] += amount * ((source == "market") - (target == "market"))
                    inside[asset] += amount * ((target in INNER) - (source in INNER))
                    if command["type"].endswith("Collection") and (asset, source) == ("BNB", "um"):
                        self._find(f"record {row.sequence}: a collection moved BNB out of UM")
                if command["type"] in {"Deposit", "Adjustment"}:
                    brought[command["asset"]] += command["amount"]
                elif command["type"] == "Withdrawal" or command.get("reason") == "INTEREST":
                    brought[command["asset"]] -= command["amount"]
        for asset in sorted(inside.keys() | brought.keys()):
            if inside[asset] != brought[asset]:
                self._find(f"the venue holds {inside[asset]} units of {asset}, and {brought[asset]} were brought")

    # Requests --------------------------------------------------------------------------------------------------------

    def _exchange(self, exchange: Exchange) -> None:
        """Weight first, then the gate, then what the endpoint must say."""
        what = f"{exchange.method} {exchange.path} at {exchange.asked_at:.3f}"
        code = code_of(exchange)
        if (
            code is not None
            and exchange.status != (200 if code == 0 else STATUS.get(code, 400))
            and not self._limited(exchange, code)
        ):
            self._find(f"{what}: {code} with status {exchange.status}")
        if exchange.after == UNANSWERED:
            self._find(f"{what}: was never answered")
        if self.terms.calm and exchange.status >= 500:
            self._find(f"{what}: {code}, and nothing had failed")
        if not self._weighed(exchange, what):
            return
        if (exchange.method, exchange.path) not in WEIGHTS:
            self._expect(what, code, {-5000})
            return
        raw = exchange.query + exchange.body
        payload, _, signature = raw.rpartition(b"&signature=")
        sent = dict(parse_qsl(payload.decode(), keep_blank_values=True))
        if exchange.path in OPEN:
            self._expect(what, code, {0})
            return
        admitted = self._gate(exchange, sent, payload or raw, unquote(signature.decode()))
        if code in {-2014, -2015, -1021, -1022, -1131} or None not in admitted:
            self._expect(what, code, admitted | {-1001, None} if code is None else admitted | {-1001})
            return
        assert exchange.api_key is not None
        account = self.history.keys[exchange.api_key].account
        if exchange.method == "POST":
            self._order(exchange, sent, account, code, what)
        elif code is not None and code != -1001:
            self._reading(exchange, sent, account, code, what)

    def _expect(self, what: str, code: int | None, allowed: set[int | None]) -> None:
        if code not in allowed:
            self._find(f"{what}: answered {code}, expected one of {sorted(map(str, allowed))}")

    @staticmethod
    def _limited(exchange: Exchange, code: int) -> bool:
        return code == QUOTA and exchange.status in {418, 429}

    def _weighed(self, exchange: Exchange, what: str) -> bool:
        """Whether the request got past the weights; every header and every 429 and 418 is checked."""
        caller = self._callers.setdefault((exchange.server, exchange.address), Caller())
        weight = WEIGHTS.get((exchange.method, exchange.path), 0)
        now, minute = exchange.clock, exchange.clock // MINUTE
        spent = caller.spent if caller.minute == minute else 0
        banned = caller.until > now
        due: tuple[int, int] | None = (418, caller.until) if banned else None
        if weight:
            if caller.minute != minute:
                caller.minute, caller.spent, caller.refused = minute, 0, 0
            if not banned:
                caller.spent += weight
                if caller.spent > self.terms.weight_per_minute:
                    due = self._over(caller, now)
            spent = caller.spent
        if exchange.status == 0:
            return due is None
        headers = dict(exchange.headers)
        if headers.get(b"x-mbx-used-weight-1m") != str(spent).encode():
            self._find(f"{what}: header says {headers.get(b'x-mbx-used-weight-1m')!r} used, counted {spent}")
        if due is None:
            if exchange.status == 418 or (exchange.status == 429 and b"requests per minute" in exchange.answer):
                self._find(f"{what}: {exchange.status} with {spent} used")
                return False
            return True
        status, until = due
        wait = max(1, -((now - until) // 1000))
        if exchange.status != status or headers.get(b"retry-after") != str(wait).encode():
            self._find(f"{what}: expected {status} for {wait} s, got {exchange.status} {headers.get(b'retry-after')!r}")
        elif status == 418 and str(until).encode() not in exchange.answer:
            self._find(f"{what}: banned until {until}, told {exchange.answer!r}")
        return False

    @staticmethod
    def _over(caller: Caller, now: int) -> tuple[int, int]:
        """429 until the minute ends; the eleventh time a ban, each longer than the last."""
        caller.refused += 1
        if caller.refused <= TOLERATED:
            return 429, (now // MINUTE + 1) * MINUTE
        if now - caller.until > THREE_DAYS:
            caller.bans = 0
        caller.until = now + min(2 * MINUTE << min(caller.bans, 12), THREE_DAYS)
        caller.bans += 1
        return 418, caller.until

    def _gate(self, exchange: Exchange, sent: dict[str, str], payload: bytes, signature: str) -> set[int | None]:
        """The codes the gate may answer with; None is that it lets the request through."""
        if not exchange.api_key:
            return {-2014}
        key = self.history.keys.get(exchange.api_key)
        lives = self._lives(key, exchange)
        if key is None or lives is False:
            return {-2015}
        refusal = self._refused_by_gate(exchange, sent, payload, signature, key)
        return {refusal} if lives else {refusal, -2015}

    def _refused_by_gate(
        self, exchange: Exchange, sent: dict[str, str], payload: bytes, signature: str, key: Key
    ) -> int | None:
        if not sent.get("timestamp"):
            return -1102
        timestamp, window = int(sent["timestamp"]), int(sent.get("recvWindow", 5000))
        if window > 60_000:
            return -1131
        if not exchange.clock - window <= timestamp < exchange.clock + 1000:
            return -1021
        if not signature:
            return -1102
        if hmac.new(key.secret.encode(), payload, "sha256").hexdigest() != signature.lower():
            return -1022
        needed = "TRADE" if exchange.method == "POST" and exchange.path != READERS_MAY else "READ"
        listed = any(ip_address(exchange.address) in ip_network(text) for text in key.ip_allow)
        allowed = needed in key.permissions and (listed or not key.ip_allow)
        return None if allowed and self.history.accounts[key.account] else -2015

    def _lives(self, key: Key | None, exchange: Exchange) -> bool | None:
        """Whether a key was good for a request; None while the server need not know yet."""
        end = exchange.answered_at if exchange.after != UNANSWERED else float("inf")
        if key is None or key.asked_at > end:
            return False
        if key.revoked_at is not None and self._known(exchange, key.revoked_at, key.revoker):
            return False
        made = key.made_at is not None and self._known(exchange, key.made_at, key.maker)
        untouched = key.revoke_asked_at is None or key.revoke_asked_at > end
        return True if made and untouched else None

    def _known(self, exchange: Exchange, at: float, told: int) -> bool:
        """Whether a server must know what happened to a key at a moment: at once if it was told, else by looking."""
        server = exchange.server
        if server == told or self.history.opened[server] > at:
            return at < exchange.asked_at
        deadline = at + self.terms.looks_every + NOTICED_LATE_S
        for vain in self._vain[server]:
            if at <= vain <= deadline:
                deadline += self.terms.looks_every
        return deadline < exchange.asked_at

    # Commands --------------------------------------------------------------------------------------------------------

    def _order(self, exchange: Exchange, sent: dict[str, str], account: str, code: int | None, what: str) -> None:
        retry_after = dict(exchange.headers).get(b"retry-after")
        command = self._asked_for(exchange.path.rpartition("/")[2], sent)
        if isinstance(command, int):
            self._expect(what, code, {command, -1001, None} if code is None else {command, -1001})
            return
        if code == 0 and command["type"] in {"BnbTransfer", "Borrow", "Repay"}:
            self._has_its_id(exchange, account, command, what)
        elif code == 0 and json.loads(exchange.answer) != {"msg": "success"}:
            self._find(f"{what}: success is said as {exchange.answer!r}")
        self._command(Given(exchange, account, command, code, int(retry_after) if retry_after else None), what)

    def _has_its_id(self, exchange: Exchange, account: str, command: Command, what: str) -> None:
        """The id that was told is that of a record of this command, written while the question was under way."""
        number, place = divmod(json.loads(exchange.answer)["tranId"], 10**6)
        found = [
            written
            for row, written, *_ in self._rows[account][max(number - 1, 0) : number]
            if exchange.before < row.sequence <= exchange.after and same(written) == same(command)
        ]
        if place or not found:
            self._find(f"{what}: was told {exchange.answer!r}, which is another record or none")
        elif command["type"] == "Borrow":
            limit = found[0]["limit"]
            says = f"{what}: was lent under the limit {limit}, which was not the account's"
            self._claim(account, exchange, lambda own: own.may_owe(command["asset"]) == limit, says)

    def _asked_for(self, name: str, sent: dict[str, str]) -> Command | int:
        """The command that a request names, or the code it is refused with before the ledger sees it."""
        match name:
            case "auto-collection":
                return {"type": "AutoCollection", "trigger": "API"}
            case "asset-collection":
                return self._asset_collection(sent)
            case "repay-futures-negative-balance":
                return {"type": "RepayNegative", "trigger": "API"}
            case "repay-futures-switch":
                said = sent.get("autoRepay")
                if said not in {"true", "false", "True", "False"}:
                    return -1130 if said else -1102
                return {"type": "SetAutoRepay", "on": said.lower() == "true", "trigger": "API"}
            case "bnb-transfer":
                side, asset = sent.get("transferSide"), "BNB"
                if not sent.get("amount") or not side:
                    return -1102
                if side not in {"TO_UM", "FROM_UM"}:
                    return -1130
                command: Command = {"type": "BnbTransfer", "side": side, "trigger": "API"}
            case _:
                asset = sent.get("asset", "")
                if not asset or not sent.get("amount"):
                    return -1102
                if asset not in self.terms.scales:
                    return -1108
                command = {"type": "Repay", "asset": asset}
                if name == "marginLoan":
                    command["type"] = "Borrow"
        command["amount"], refused = whole_units(sent["amount"], self.terms.scales[asset])
        return refused or command

    def _asset_collection(self, sent: dict[str, str]) -> Command | int:
        """The command that a request for one asset names, or the code it is refused with before the ledger sees it."""
        asset, amount, wallet = sent.get("asset"), sent.get("amount"), sent.get("futureType")
        if not asset:
            return -1102
        if amount == "" or wallet == "":
            return -1105
        if wallet not in {None, "UM", "CM", "OPTION"}:
            return -1130
        if asset not in self.terms.scales:
            return -1108
        if asset == "BNB" or wallet == "OPTION":
            return -1020
        command: Command = {"type": "AssetCollection", "asset": asset, "trigger": "API"}
        if amount is not None:
            command["amount"], refused = whole_units(amount, self.terms.scales[asset])
            if refused:
                return refused
        if wallet is not None:
            command["wallet"] = wallet
        return command

    def _order_answered(self, order: Any) -> None:
        if order.after == UNANSWERED:
            self._find(f"a direct command at {order.asked_at:.3f} was never answered")
        if self.terms.calm and order.code in {-1000, -1001, -1007}:
            self._find(f"a direct command at {order.asked_at:.3f}: {order.code}, and nothing had failed")
        if order.code == 0:
            row = self.history.journal[order.sequence - 1] if order.sequence <= len(self.history.journal) else None
            if (
                row is None
                or row.account != order.account
                or json.loads(row.text)["command"] != json.loads(order.command)
            ):
                self._find(f"a direct command was told sequence {order.sequence}, which is another record or none")

    def _command(self, given: Given, what: str) -> None:
        """Kept for `_match`; a refusal is a claim that the account's state gave cause for it."""
        self._given.append(given)
        code, command, asked = given.code, given.command, given.what
        if code in PERHAPS or code in NOTHING_HAPPENED or code == 0:
            return
        if given.account not in self.history.accounts:
            self._expect(what, code, {-1109})
        elif code == QUOTA:
            low, high, retry = asked.clock_low, asked.clock_high, given.retry_after
            self._claim(
                given.account,
                asked,
                lambda account: account.refuses(command, low, high, retry),
                f"{what}: refused by quota, to try again in {retry} s",
            )
        elif code == OVER_LIMIT and "limit" not in command:
            self._refused_loan(given, what)
        else:
            says = f"{what}: {command} refused with {code}"
            limited = {"limit": 2**63, **command}
            self._claim(given.account, asked, lambda account: account.outcome(limited) == code, says)

    def _refused_loan(self, given: Given, what: str) -> None:
        """Its limit is read before the commit that decides by it: with much in between there is nothing to say."""
        first, last = self._between(given.account, given.what)
        if last - first > 1:
            return
        command, says = given.command, f"{what}: {given.command} is within the limit, and was refused"

        def holds(own: Account) -> bool:
            return own.outcome({**command, "limit": own.may_owe(command["asset"])}) == OVER_LIMIT

        self._claim(given.account, given.what, holds, says)

    def _preview(self, preview: Preview) -> None:
        """It says what the command would do, and what the quotas leave at some moment between asking and answering."""
        what = f"a preview at {preview.asked_at:.3f}"
        command, moves = json.loads(preview.command), json.loads(preview.moves)
        if preview.after == UNANSWERED:
            self._find(f"{what}: was never answered")
        if preview.code is None:
            return
        if preview.account not in self.history.accounts:
            self._expect(what, preview.code, {-1109})
            return
        low, high = preview.clock_low, preview.clock_high
        left = list(preview.left.values())

        def holds(account: Account) -> bool:
            bounds = [*zip(account.left(command, low), account.left(command, high), strict=True)]
            if len(bounds) != len(left) or not all(
                min(b) <= one <= max(b) for b, one in zip(bounds, left, strict=True)
            ):
                return False
            if preview.code == QUOTA:
                return account.refuses(command, low, high, preview.retry_after)
            due = account.outcome(command)
            return due == preview.code if isinstance(due, int) else not preview.code and [*map(list, due)] == moves

        says = f"{what}: {command} would give {preview.code}, {moves}, and quotas {left}"
        self._claim(preview.account, preview, holds, says)

    def _match(self) -> None:
        """Every command done is in the journal once, none refused, the others at most once, and nothing else is."""
        groups: dict[str, list[Given]] = defaultdict(list)
        for given in self._given:
            if given.code == 0 or given.code in PERHAPS:
                groups[given.account + same(given.command)].append(given)
        records: dict[str, list[int]] = defaultdict(list)
        for account, rows in self._rows.items():
            before = 0
            for row, command, *_ in rows:
                name = account + same(command)
                records[name].append(row.sequence)
                if row.timestamp < before:
                    self._find(f"record {row.sequence}: time runs back")
                if row.timestamp != before and not any(
                    g.what.before < row.sequence <= g.last and g.what.clock_low <= row.timestamp <= g.what.clock_high
                    for g in groups[name]
                ):
                    self._find(f"record {row.sequence}: its time is that of no command it could be: {command}")
                before = max(row.timestamp, before)
        for name in groups.keys() | records.keys():
            done = [given for given in groups[name] if given.code == 0]
            missed, _ = paired(done, records[name])
            for given in missed:
                self._find(f"done at {given.what.answered_at:.3f}, and not in the journal: {given.command}")
            _, unasked = paired(groups[name], records[name])
            for sequence in unasked:
                self._find(f"record {sequence} was not asked for, or not that often: {name[32:]}")

    # Answers about accounts ------------------------------------------------------------------------------------------

    def _claim(self, account: str, asked: Asked, holds: Callable[[Account], bool], says: str) -> None:
        self._claims[account].append(Claim(*self._between(account, asked), holds, says))

    def _between(self, account: str, asked: Asked) -> tuple[int, int]:
        """How many records an account had at least, and at most, while a question was under way."""
        places = self._places[account]
        last = bisect_right(places, asked.after) if asked.after != UNANSWERED else len(places)
        return bisect_right(places, asked.before), last

    def _reading(self, exchange: Exchange, sent: dict[str, str], account: str, code: int, what: str) -> None:
        path = exchange.path
        if refused := self._refused_reading(path, sent, exchange.clock):
            self._expect(what, code, {refused})
            return
        if code:
            self._find(f"{what}: a reading was refused with {code}")
            return
        seen = exchanged(exchange.answer) if HISTORIES.get(path) == "exchange" else json.loads(exchange.answer)
        expected = self._expected(path, sent, exchange.clock)
        says = f"{what}: {exchange.answer.decode()} is not what the account held"
        self._claim(account, exchange, lambda own: bool(expected(own) == seen), says)

    def _refused_reading(self, path: str, sent: dict[str, str], clock: int) -> int:
        if path.endswith("/income"):
            return self._refused_income(path, sent, clock)
        if kind := HISTORIES.get(path):
            return self._refused_history(kind, sent)
        unknown = path.endswith("/balance") and sent.get("asset", "USDT") not in self.terms.scales
        return -1108 if unknown else 0

    @staticmethod
    def _expected(path: str, sent: dict[str, str], clock: int) -> Callable[[Account], Any]:
        """What the answer must be, given what the account held."""
        wallet, kind = "cm" if "/cm/" in path else "um", HISTORIES.get(path, "")
        match kind or path.rpartition("/")[2]:
            case "exchange":
                return lambda own: own.exchanges(sent)
            case "interest":
                return lambda own: own.history(kind, sent, clock)[: int(sent.get("size", 10))]
            case "loan" | "repay" | "charge":
                return lambda own: own.page(kind, sent, clock)
            case "repay-futures-switch":
                return lambda own: {"autoRepay": own.auto_repay}
            case "income":
                return lambda own: own.income_rows(wallet, sent, clock)
            case "account":
                return (lambda own: own.wallet(wallet)) if path.endswith("m/account") else Account.information
        asset = sent.get("asset")
        return Account.balance if asset is None else lambda own: own.asset_balance(asset)

    @staticmethod
    def _refused_income(path: str, sent: dict[str, str], clock: int) -> int:
        limit = int(sent.get("limit", 1))
        start, end = sent.get("startTime"), sent.get("endTime")
        if limit > 1000:
            return -1130
        if start is not None and end is not None and int(start) > int(end):
            return -1023
        if "/cm/" in path and start is not None and int(end or clock) - int(start) > 200 * 86_400_000:
            return -4165
        return 0 if limit else -1130

    def _refused_history(self, kind: str, sent: dict[str, str]) -> int:
        asset, start, end = sent.get("asset"), sent.get("startTime"), sent.get("endTime")
        if kind in {"loan", "repay"} and not asset:
            return -1102
        if asset is not None and asset not in self.terms.scales:
            return -1108
        if "0" in {sent.get("current"), sent.get("size")}:
            return -1130
        if start is not None and end is not None and "txId" not in sent:
            span = int(end) - int(start)
            longest = 92 if kind == "exchange" else 30
            return -1023 if span < 0 else -4165 if span > longest * 86_400_000 else 0
        return 0

    def _replay(self, name: str) -> None:
        """The account's life from its commands; each record and each claim is held against it."""
        account = Account(self.terms, self.history.accounts[name])
        claims = sorted(self._claims[name], key=lambda claim: claim.first, reverse=True)
        open_claims: list[Claim] = []
        rows = self._rows[name]
        for place in range(len(rows) + 1):
            if place:
                self._record(account, *rows[place - 1])
            while claims and claims[-1].first <= place:
                open_claims.append(claims.pop())
            for claim in [claim for claim in open_claims if claim.holds(account) or claim.last <= place]:
                if not claim.holds(account):
                    self._find(claim.says)
                open_claims.remove(claim)

    def _record(self, account: Account, row: Row, command: Command, transfers: list[Any], found: list[Any]) -> None:
        """What a record moved is what its command had to move; then the model goes on from what it should have been."""
        if not account.may(command, row.timestamp):
            self._find(f"record {row.sequence}: over the quota of {command}")
        if account.found(command) != found:
            self._find(f"record {row.sequence}: {command} had to find {account.found(command)}, found {found}")
        due = account.outcome(command)
        if isinstance(due, int):
            self._find(f"record {row.sequence}: {command} had to be refused with {due}")
            due = []
        if [list(moved) for moved in due] != transfers:
            self._find(f"record {row.sequence}: {command} had to move {due}, moved {transfers}")
        account.follow(row.number, row.timestamp, command, due)


def same(command: Command) -> str:
    """One text for one command, whatever the order of its fields; what is left out is empty.

    So is the limit of a loan, which nobody says who asks for one over the API.
    """
    fields = sorted(command.items())
    return json.dumps({name: value for name, value in fields if value is not None and value != "" and name != "limit"})


def exchanged(answer: bytes) -> list[tuple[int, str, Decimal, Decimal]]:
    """The rows of an answer about exchanges; its numbers are taken as they are written."""
    seen = json.loads(answer, parse_float=Decimal, parse_int=Decimal)
    return [
        (int(row["startTime"]), one["asset"], one["negativeBalance"], one["negativeMaxThreshold"])
        for row in seen["rows"]
        for one in row["details"]
    ]


def paired(given: Iterable[Given], sequences: list[int]) -> tuple[list[Given], list[int]]:
    """Gives each record, in order, to the command that may be it and must come first; who and what is left over."""
    coming = sorted(given, key=lambda one: one.what.before, reverse=True)
    waiting: list[tuple[int, int, Given]] = []
    missed: list[Given] = []
    unasked: list[int] = []
    for sequence in sequences:
        while coming and coming[-1].what.before < sequence:
            one = coming.pop()
            heapq.heappush(waiting, (one.last, len(coming), one))
        while waiting and waiting[0][0] < sequence:
            missed.append(heapq.heappop(waiting)[2])
        if waiting:
            heapq.heappop(waiting)
        else:
            unasked.append(sequence)
    return [*missed, *(one for _, _, one in waiting), *coming], unasked
