"""Every refusal, once: name, code, sentence and HTTP status, in order of precedence.

A refusal is a value. It is listed here, made where a rule refuses, and turned into a response in one place
(`papi/rest.py`) or into a line on a terminal (`cli/desk.py`). Codes and sentences follow the venue's published error
table where it has one for the case; rows marked "choice" are ours and are listed in docs/coverage.md.
"""

from __future__ import annotations

import msgspec


class Refusal(msgspec.Struct, frozen=True):
    """One row of the table. `sentence` may hold `%s`, one for each detail given when the refusal is made."""

    name: str
    code: int
    sentence: str
    status: int
    note: str = ""

    def __call__(self, *details: object, retry_after: int | None = None) -> Rejection:
        """Make the rejection; `retry_after` is in whole seconds and only for 429 and 418."""
        return Rejection(self, tuple(str(detail) for detail in details), retry_after)


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A refused command or request: nothing happened. `retry_after` is in seconds."""

    refusal: Refusal
    details: tuple[str, ...] = ()
    retry_after: int | None = None

    @property
    def code(self) -> int:
        return self.refusal.code

    @property
    def status(self) -> int:
        return self.refusal.status

    @property
    def name(self) -> str:
        return self.refusal.name

    @property
    def sentence(self) -> str:
        return self.refusal.sentence % self.details if self.details else self.refusal.sentence


class Refused(Exception):  # noqa: N818 - the word for a refusal that must leave a constructor or a command line
    """Carries a rejection out of a place that cannot return one: opening a store, reading settings, a CLI verb."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.sentence)
        self.rejection = rejection


# The process protects itself first: bans, weight, size.
IP_BANNED = Refusal(
    "IP_BANNED",
    -1003,
    "Way too many requests; IP banned until %s. Please use the websocket for live updates to avoid bans.",
    418,
)
TOO_MANY_REQUESTS = Refusal(
    "TOO_MANY_REQUESTS",
    -1003,
    "Too many requests; current limit is %s requests per minute. "
    "Please use the websocket for live updates to avoid polling the API.",
    429,
)
TOO_MUCH_WEIGHT = Refusal(
    "TOO_MUCH_WEIGHT",
    -1003,
    "Too much request weight used; current limit is %s request weight per %s. "
    "Please use WebSocket Streams for live updates to avoid polling the API.",
    429,
    "on /sapi alone",
)
UNKNOWN_PATH = Refusal(
    "UNKNOWN_PATH",
    -5000,
    "Path %s, Method %s is invalid",
    404,
    "choice: the live venue answers an HTML page for unknown paths; JSON keeps every client's error readable",
)
BODY_TOO_LARGE = Refusal("BODY_TOO_LARGE", -1013, "Request body is larger than %s bytes.", 413, "choice")
QUERY_TOO_LARGE = Refusal("QUERY_TOO_LARGE", -1013, "Query string is larger than %s bytes.", 414, "choice")

# Then the shape of the text.
ILLEGAL_CHARS = Refusal("ILLEGAL_CHARS", -1100, "Illegal characters found in parameter '%s'; legal range is '%s'.", 400)
TOO_MANY_PARAMETERS = Refusal(
    "TOO_MANY_PARAMETERS", -1101, "Too many parameters; expected '%s' and received '%s'.", 400
)
DUPLICATE_PARAMETER = Refusal("DUPLICATE_PARAMETER", -1101, "Duplicate values for a parameter detected.", 400)

# Then who asks, when, and whether it is really them.
BAD_API_KEY_FMT = Refusal("BAD_API_KEY_FMT", -2014, "API-key format invalid.", 401)
REJECTED_MBX_KEY = Refusal(
    "REJECTED_MBX_KEY", -2015, "Invalid API-key, IP, or permissions for action., request ip: %s", 401
)
MANDATORY_PARAM = Refusal(
    "MANDATORY_PARAM_EMPTY_OR_MALFORMED",
    -1102,
    "Mandatory parameter '%s' was not sent, was empty/null, or malformed.",
    400,
)
BAD_RECV_WINDOW = Refusal(
    "BAD_RECV_WINDOW",
    -1131,
    "recvWindow must be less than 60000",
    400,
    "choice: the Portfolio Margin table has no row for it; the Pro and spot tables have this one",
)
TIMESTAMP_TOO_OLD = Refusal("INVALID_TIMESTAMP", -1021, "Timestamp for this request is outside of the recvWindow.", 400)
TIMESTAMP_AHEAD = Refusal(
    "INVALID_TIMESTAMP", -1021, "Timestamp for this request was 1000ms ahead of the server's time.", 400
)
INVALID_SIGNATURE = Refusal("INVALID_SIGNATURE", -1022, "Signature for this request is not valid.", 400)

# Then the parameters.
PARAM_EMPTY = Refusal("PARAM_EMPTY", -1105, "Parameter '%s' was empty.", 400)
OPTIONAL_PARAMS_BAD_COMBO = Refusal(
    "OPTIONAL_PARAMS_BAD_COMBO", -1128, "Combination of optional parameters invalid.", 400
)
INVALID_PARAMETER = Refusal("INVALID_PARAMETER", -1130, "Data sent for parameter '%s' is not valid.", 400)
INVALID_LISTEN_KEY = Refusal(
    "INVALID_LISTEN_KEY",
    -1125,
    "This listenKey does not exist. Please use `POST /papi/v1/listenKey` to recreate `listenKey`",
    400,
)
START_TIME_GREATER_THAN_END_TIME = Refusal(
    "START_TIME_GREATER_THAN_END_TIME", -1023, "Start time is greater than end time.", 400
)
INVALID_TIME_INTERVAL = Refusal("INVALID_TIME_INTERVAL", -4165, "Maximum time interval is %s days", 400)
LOOKUP_TOO_BIG = Refusal(
    "MORE_THAN_XX_HOURS",
    -1127,
    "Lookup interval is too big.",
    400,
    "choice: more records lie in the window than one call may read; ask for a shorter one",
)
BAD_SYMBOL = Refusal("BAD_SYMBOL", -1121, "Invalid symbol.", 400)
BAD_ASSET = Refusal("BAD_ASSET", -1108, "Invalid asset.", 400)
UNSUPPORTED_OPERATION = Refusal("UNSUPPORTED_OPERATION", -1020, "This operation is not supported.", 400)
AMOUNT_MUST_BE_POSITIVE = Refusal("AMOUNT_MUST_BE_POSITIVE", -4055, "Amount must be positive.", 400)
BAD_PRECISION = Refusal("BAD_PRECISION", -1111, "Precision is over the maximum defined for this asset.", 400)
AMOUNT_TOO_LARGE = Refusal(
    "AMOUNT_TOO_LARGE",
    -1130,
    "Data sent for parameter '%s' is not valid.",
    400,
    "choice: amounts are 63-bit whole numbers of the asset's smallest unit",
)

# Then the rules of the ledger.
BAD_ACCOUNT = Refusal("BAD_ACCOUNT", -1109, "Invalid account.", 400)
NOT_PORTFOLIO_MARGIN = Refusal("USER_IS_NOT_UNIACCOUNT", -21001, "Request ID is not a Portfolio Margin Account.", 400)
NO_LIABILITY = Refusal("USER_NO_LIABILITY", -21004, "User doesn't have liability.", 400)
NO_TRANSFER_TO_FUTURES = Refusal(
    "UNI_ACCOUNT_CANT_TRANSFER_FUTURE",
    -21002,
    "Portfolio Margin Account doesn't support transfer from margin to futures.",
    400,
)
COLLECTION_QUOTA = Refusal(
    "COLLECTION_QUOTA",
    -1003,
    "Too many requests; current limit is %s requests per %s.",
    429,
    "choice: no public report shows the live answer to the 501st collection of an hour",
)
BALANCE_NOT_SUFFICIENT = Refusal("BALANCE_NOT_SUFFICIENT", -2018, "Balance is insufficient.", 400)
TRANSFER_BALANCE = Refusal(
    "TRANSFER_BALANCE_INSUFFICIENT",
    -5013,
    "Asset transfer failed: insufficient balance",
    400,
    "on /sapi/v1/asset/transfer, for -2018; undocumented, and seen live",
)
EXCEED_MAX_ROLLOUT = Refusal(
    "EXCEED_MAX_ROLLOUT", -3020, "Transfer out amount exceeds max amount.", 400, "on /sapi/v1/asset/transfer"
)
QUANTITY_NOT_POSITIVE = Refusal(
    "QUANTITY_NOT_POSITIVE", -5007, "Quantity must be greater than zero.", 400, "on /sapi/v1/asset/transfer, for -4055"
)
BALANCE_OVERFLOW = Refusal(
    "BALANCE_OVERFLOW",
    -1130,
    "Data sent for parameter 'amount' is not valid.",
    400,
    "choice: the balance after the transfer would not fit in 63 bits",
)
EXCEED_MAX_BORROWABLE = Refusal(
    "EXCEED_MAX_BORROWABLE",
    -51006,
    "Exceeds maximum borrowable amount.",
    400,
    "choice: the page prints 51006 without a sign; every code on the wire is negative",
)
REPAY_EXCEEDS_DEBT = Refusal(
    "REPAY_EXCEED_LIABILITY",
    -3015,
    "Repay amount exceeds borrow amount.",
    400,
    "choice: the Portfolio Margin table has no row for it; the margin table has this one",
)

# Then the machine: refused means nothing happened; unknown means it may have.
QUEUE_FULL = Refusal(
    "QUEUE_FULL",
    -1001,
    "Internal error; unable to process your request. Please try again.",
    503,
    "the text of a certain failure: nothing happened and the request may be sent again",
)
CLOSING = Refusal("SERVICE_SHUTTING_DOWN", -1016, "This service is no longer available.", 503)
STORE_UNAVAILABLE = Refusal(
    "STORE_UNAVAILABLE",
    -1001,
    "Internal error; unable to process your request. Please try again.",
    503,
    "the batch was rolled back: nothing happened",
)
OUTCOME_UNKNOWN = Refusal(
    "OUTCOME_UNKNOWN",
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    503,
    "the commit failed half-way: it may have landed; read again before repeating it",
)
UNKNOWN = Refusal("UNKNOWN", -1000, "An unknown error occured while processing the request.", 500)

OPERATOR_CODES = -90_000
"""Codes under this are ours: refusals that only an operator meets, on the command line or when a venue opens."""

ACCOUNT_EXISTS = Refusal("ACCOUNT_EXISTS", -90001, "An account named '%s' already exists.", 400, "choice")
KEY_EXISTS = Refusal("KEY_EXISTS", -90002, "This API key already exists.", 400, "choice")
NO_SUCH_KEY = Refusal("NO_SUCH_KEY", -90003, "There is no API key '%s'.", 400, "choice")
BAD_PUBLIC_KEY = Refusal("INVALID_RSA_PUBLIC_KEY", -4057, "Invalid api public key", 400)
BAD_STORE_ADDRESS = Refusal("BAD_STORE_ADDRESS", -90004, "Cannot use the store '%s': %s", 400, "choice")
NEWER_STORE = Refusal(
    "NEWER_STORE", -90005, "The store has schema version %s; this Catchment knows up to %s.", 400, "choice"
)
DAMAGED_STORE = Refusal("DAMAGED_STORE", -90006, "The store is damaged: %s", 500, "choice")
SCALE_CHANGED = Refusal(
    "SCALE_CHANGED", -90007, "Asset %s has scale %s in this store; the settings say %s.", 400, "choice"
)
BAD_SETTING = Refusal("BAD_SETTING", -90008, "Setting %s: %s", 400, "choice")
BAD_SCENARIO = Refusal("BAD_SCENARIO", -90009, "Scenario: %s", 400, "choice")
WRONG_MASTER_KEY = Refusal(
    "WRONG_MASTER_KEY",
    -90010,
    "The master key does not open the secrets of this store; it is read from %s.",
    400,
    "choice",
)
NOT_A_COPY = Refusal("NOT_A_COPY", -90011, "The target is not the beginning of the source: %s", 400, "choice")
NOTHING_TO_DO = Refusal(
    "NOTHING_TO_DO", -90012, "There is nothing to do.", 400, "choice: only the venue's own schedule is told so"
)

# Then the door of the dashboard.
SIGN_IN_FAILED = Refusal("SIGN_IN_FAILED", -90020, "The name or the password is wrong.", 401, "choice")
SIGN_IN_LOCKED = Refusal("SIGN_IN_LOCKED", -90021, "Too many attempts; wait %s minutes.", 429, "choice")
BAD_PASSWORD = Refusal("BAD_PASSWORD", -90022, "A password has %s to %s characters.", 400, "choice")
NO_SUCH_PERSON = Refusal("NO_SUCH_PERSON", -90023, "There is no person '%s'.", 400, "choice")
LINK_SPENT = Refusal("LINK_SPENT", -90024, "This link was used before, or is too old.", 410, "choice")
FOREIGN_FORM = Refusal("FOREIGN_FORM", -90025, "This form is too old, or not from a page of this venue.", 403, "choice")
NO_SUCH_PAGE = Refusal("NO_SUCH_PAGE", -90026, "There is no such page.", 404, "choice")
TOO_MANY_LIVE = Refusal(
    "TOO_MANY_LIVE", -90027, "Too many pages are open; this one does not update itself.", 503, "choice"
)

REFUSALS: tuple[Refusal, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Refusal))
