"""The command line: one verb, one answer, one exit code. It opens the same store a running server has open.

It renders what the venue says and decides nothing about money.
"""

from __future__ import annotations

import click

from catchment import __version__
from catchment.cli.accounts import account, key
from catchment.cli.collect import collect
from catchment.cli.contract import endpoints
from catchment.cli.desk import Verbs
from catchment.cli.funds import adjust, balance, deposit, withdraw
from catchment.cli.journal import export, history, verify
from catchment.cli.margin import auto_collect, auto_repay, bnb, borrow, payback, repay
from catchment.cli.market import position, price
from catchment.cli.people import link, person
from catchment.cli.requests import requests
from catchment.cli.serving import demo, serve
from catchment.cli.store import store

__all__ = ["main"]


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes:
    0  done
    1  a check failed: verify found something
    2  bad usage
    3  refused: nothing happened
    4  outcome unknown: it may have happened, read again before you repeat it
    5  the store cannot be opened or used
  130  interrupted
""",
)
@click.version_option(__version__, prog_name="catchment")
def main() -> None:
    """A local stand-in for Binance's Portfolio Margin API.

    \b
    catchment demo                       a funded account, collected over HTTP before your eyes
    catchment serve                      the venue on http://127.0.0.1:8750
    catchment account create alice       then: key create, deposit, adjust, collect
    """


for verb in (
    serve,
    demo,
    account,
    key,
    person,
    link,
    deposit,
    withdraw,
    adjust,
    balance,
    collect,
    bnb,
    repay,
    auto_repay,
    auto_collect,
    borrow,
    payback,
    price,
    position,
    history,
    export,
    requests,
    verify,
    store,
    endpoints,
):
    main.add_command(verb)
