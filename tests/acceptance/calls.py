"""What each stock client calls each endpoint, so that one walk serves them all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from catchment.papi.endpoints import ENDPOINTS


class Names(NamedTuple):
    """A client's method for an endpoint; empty where it has none. The others' names are made from these or the path."""

    sdk: str
    python_binance: str
    siebly: str


def _read() -> Iterator[tuple[str, Names]]:
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            method, path, *names = line.split()
            yield f"{method} {path}", Names(*("" if name == "-" else name for name in names))


CALLS: Final = dict(_read())
"""By method and path under /papi/."""
SERVED: Final = {
    f"{endpoint.method} {endpoint.path.removeprefix('/papi/')}"
    for endpoint in ENDPOINTS
    if endpoint.path.startswith("/papi/")
}
NO_METHOD: Final = {"GET v1/time"}
"""No client has one."""


def ccxt_name(call: str) -> str:
    """`GET v1/um/account` is papiGetUmAccount, `GET v2/um/account` papiV2GetUmAccount."""
    method, version, *parts = re.split(r"[ /-]", call)
    return "papi" + version.upper() * (version != "v1") + method.title() + "".join(p[:1].upper() + p[1:] for p in parts)


def camel(snake: str) -> str:
    """The official JavaScript SDK's names are those of the Python one."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), snake)


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


class Client:
    """A stock client. It answers as the wire has it, whatever its own types are."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def ask(self, call: str, **parameters: Any) -> Any:
        """Call an endpoint by the client's own method for it; parameters are named as on the wire."""
        self.asked.add(call)
        return self._ask(call, parameters)

    def has(self, call: str) -> bool:
        """Whether the client has a method for this endpoint."""
        raise NotImplementedError

    def _ask(self, call: str, parameters: dict[str, Any]) -> Any:
        raise NotImplementedError
