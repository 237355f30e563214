"""The pages at the door: sign in, by password or by link; sign out; language and look."""

from __future__ import annotations

from typing import Final

from starlette.background import BackgroundTask
from starlette.responses import Response

from catchment import errors
from catchment.dashboard.people import Session
from catchment.dashboard.visit import LANGUAGE, LOOK, ROOT, Page, Visit
from catchment.dashboard.words import LANGUAGES, LOOKS
from catchment.errors import Rejection


async def home(visit: Visit) -> Response | Rejection:
    """To what this person looks at first."""
    assert visit.session is not None  # the page is not open
    return visit.go(_first_page(visit.session))


async def show(visit: Visit) -> Response | Rejection:
    """The form."""
    return visit.go(f"{ROOT}/") if visit.session else visit.render("sign_in.html", name="", sentence="")


async def sign_in(visit: Visit) -> Response | Rejection:
    """Name and password; a refusal stands over the form."""
    name = visit.form.get("name", "")
    entered = await visit.people.sign_in(name, visit.form.get("password", ""), visit.address)
    if isinstance(entered, Rejection):
        sentence = visit.words.refusal(entered)
        response: Response = visit.render("sign_in.html", entered.status, name=name, sentence=sentence)
        if entered.retry_after is not None:
            response.headers["retry-after"] = str(entered.retry_after)
        return response
    response = await _enter(visit, entered.token)
    response.background = BackgroundTask(visit.people.forgive, entered)
    return response


async def by_link(visit: Visit) -> Response | Rejection:
    """The link that a terminal printed, once. Who only asks for its head has not followed it."""
    if visit.request.method != "GET":
        return errors.NO_SUCH_PAGE()
    token = await visit.people.use_link(visit.request.path_params["secret"])
    return token if isinstance(token, Rejection) else await _enter(visit, token)


async def sign_out(visit: Visit) -> Response | Rejection:
    """End the session."""
    await visit.people.sign_out(visit.token)
    return visit.forget(visit.go(f"{ROOT}/sign-in"), visit.cookie)


async def prefer(visit: Visit) -> Response | Rejection:
    """Another language or look, kept in a cookie; back to the page it was asked on."""
    there = visit.form.get("there", "")
    response = visit.go(there if there.startswith(f"{ROOT}/") and there.isprintable() else f"{ROOT}/")
    if visit.form.get("language") in LANGUAGES:
        visit.remember(response, LANGUAGE, visit.form["language"])
    if visit.form.get("look") in LOOKS:
        visit.remember(response, LOOK, visit.form["look"])
    return response


async def _enter(visit: Visit, token: str) -> Response:
    if visit.token:  # another session of this browser
        await visit.people.sign_out(visit.token)
    session = await visit.people.session(token)
    return visit.remember(visit.go(_first_page(session) if session else f"{ROOT}/"), visit.cookie, token, session=True)


def _first_page(session: Session) -> str:
    return f"{ROOT}/accounts" if session.operator else f"{ROOT}/accounts/{session.account}/wallets"


PAGES: Final = (
    Page("/", home),
    Page("/sign-in", show, open=True),
    Page("/sign-in", sign_in, "POST", open=True),
    Page("/link/{secret}", by_link, open=True),
    Page("/sign-out", sign_out, "POST"),
    Page("/prefer", prefer, "POST", open=True),
)
