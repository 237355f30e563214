"""Every stock client, made for one account on one program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final

import ccxt

from tests.acceptance import test_ccxt, test_official_sdk, test_python_binance
from tests.acceptance.calls import Client
from tests.acceptance.javascript import node
from tests.acceptance.people import Credentials
from tests.acceptance.program import Program

Made = AbstractContextManager[Client]


@contextmanager
def _ccxt(program: Program, credentials: Credentials) -> Iterator[Client]:
    yield test_ccxt.Sync(test_ccxt.pointed(ccxt.binance(test_ccxt.options(credentials)), program.url))


@contextmanager
def _sdk(program: Program, credentials: Credentials) -> Iterator[Client]:
    yield test_official_sdk.Sdk(test_official_sdk.configured(program, credentials))


@contextmanager
def _python_binance(program: Program, credentials: Credentials) -> Iterator[Client]:
    yield test_python_binance.synchronous(program, credentials)


CLIENTS: Final[dict[str, Callable[[Program, Credentials], Made]]] = {
    "ccxt": _ccxt,
    "ccxt-async": test_ccxt.asynchronous,
    "sdk": _sdk,
    "python-binance": _python_binance,
    "python-binance-async": test_python_binance.asynchronous,
    "official": partial(node, "official"),
    "siebly": partial(node, "siebly"),
}
