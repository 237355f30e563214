"""What else a person does: BNB between Cross Margin and UM, repaying what is negative, the two switches."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from catchment import errors
from catchment.dashboard.confirming import again_at, confirmed, done
from catchment.dashboard.visit import Page, Visit
from catchment.errors import Rejection
from catchment.ledger.balance import balance_of
from catchment.ledger.collection import BNB
from catchment.ledger.commands import BnbTransfer, RepayNegative, SetAutoCollection, SetAutoRepay, Side

SWITCHES: Final[dict[str, type[SetAutoRepay] | type[SetAutoCollection]]] = {
    "auto-repay": SetAutoRepay,
    "auto-collection": SetAutoCollection,
}


async def show_bnb(visit: Visit) -> Response | Rejection:
    """The form of a BNB transfer: which way, how much there is, and what the quota leaves."""
    return await _bnb_form(visit, Side.TO_UM)


async def move_bnb(visit: Visit) -> Response | Rejection:
    """Transfer what was filled in. What is no amount (-1130, -1111), and what the command refuses, is said over the
    form."""
    side = _side(visit.form.get("side", ""))
    if side is None:
        return errors.INVALID_PARAMETER("side")
    amount = visit.venue.assets[BNB].units(visit.form.get("amount", "").strip())
    answer = (
        amount if isinstance(amount, Rejection) else await confirmed(visit, BnbTransfer(amount, side, visit.trigger))
    )
    return await _bnb_form(visit, side, answer) if isinstance(answer, Rejection) else answer


async def _bnb_form(visit: Visit, side: Side, refused: Rejection | None = None) -> Response | Rejection:
    found = await visit.venue.preview(visit.account, BnbTransfer(1, side, visit.trigger))
    if found.state is None:
        return errors.BAD_ACCOUNT()
    return visit.render(
        "bnb_part.html" if visit.part else "bnb.html",
        200 if refused is None else refused.status,
        refused=refused,
        amount=visit.form.get("amount", ""),
        bnb=balance_of(found.state, BNB),
        number=found.state.number,
        side=side,
        quotas=found.quotas,
        again_at=again_at(visit, found),
    )


async def show_repay(visit: Visit) -> Response | Rejection:
    """What repaying would move."""
    found = await visit.venue.preview(visit.account, RepayNegative(visit.trigger))
    if isinstance(found.answer, Rejection):
        return found.answer
    assert found.state is not None  # or it would be a rejection
    return visit.render(
        "repay_part.html" if visit.part else "repay.html", number=found.state.number, moves=found.answer.transfers
    )


async def repay(visit: Visit) -> Response | Rejection:
    """Repay what is negative, as far as Cross Margin goes."""
    return await confirmed(visit, RepayNegative(visit.trigger))


async def switch(visit: Visit) -> Response | Rejection:
    """Turn a switch; the page then shows it as the ledger has it."""
    command = SWITCHES.get(visit.form.get("switch", ""))
    on = {"on": True, "off": False}.get(visit.form.get("to", ""))
    if command is None or on is None:
        return errors.INVALID_PARAMETER("switch")
    pressed = await done(visit, command(on, visit.trigger))
    if isinstance(pressed, Rejection):
        return pressed
    if visit.part:
        return Response(status_code=204, headers={"hx-trigger": "record"})
    return visit.go(visit.path("/accounts/{account}/wallets"))


def _side(text: str) -> Side | None:
    return Side(text) if text in list(Side) else None


PAGES: Final = (
    Page("/accounts/{account}/bnb", show_bnb),
    Page("/accounts/{account}/bnb", move_bnb, "POST"),
    Page("/accounts/{account}/repay", show_repay),
    Page("/accounts/{account}/repay", repay, "POST"),
    Page("/accounts/{account}/switch", switch, "POST"),
)
