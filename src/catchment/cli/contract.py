"""The verb `endpoints`: the contract as a table, from the same rows that serve the requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from catchment.cli import screen
from catchment.cli.desk import Desk, with_desk
from catchment.cli.screen import Column

if TYPE_CHECKING:
    from catchment.papi.contract import Endpoint


@click.command(short_help="List the endpoints served.")
@click.option("--markdown", is_flag=True, help="Print the coverage page.")
@with_desk
def endpoints(desk: Desk, markdown: bool) -> None:
    """List the endpoints served: method, path, security, weight, parameters."""
    from catchment.papi.endpoints import ENDPOINTS

    if markdown:
        from catchment.papi import coverage

        click.echo(coverage.markdown().removesuffix("\n"))
        return
    document = [
        {
            "method": endpoint.method,
            "path": endpoint.path,
            "security": str(endpoint.security),
            "weight": endpoint.weight,
            "parameters": [
                {"name": parameter.name, "mandatory": parameter.mandatory} for parameter in endpoint.parameters
            ],
            "reference": endpoint.reference,
        }
        for endpoint in ENDPOINTS
    ]
    columns = [
        Column("Method"),
        Column("Path"),
        Column("Security"),
        Column("Weight", number=True),
        Column("Parameters"),
    ]
    desk.answer(document, lambda: screen.table(columns, [_row(endpoint) for endpoint in ENDPOINTS]))


def _row(endpoint: Endpoint) -> list[str]:
    """An optional parameter stands in brackets."""
    parameters = (parameter.name if parameter.mandatory else f"[{parameter.name}]" for parameter in endpoint.parameters)
    return [endpoint.method, endpoint.path, str(endpoint.security), str(endpoint.weight), " ".join(parameters)]
