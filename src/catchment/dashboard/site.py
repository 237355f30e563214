"""The pages as one ASGI application: finds the page, who asks and of what; answers with the headers every page has."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from hmac import compare_digest
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from catchment import errors
from catchment.dashboard import accounts, acts, assets, collect, history, live, overview, requests, sign_in, wallets
from catchment.dashboard.people import People, prepare
from catchment.dashboard.visit import LANGUAGE, LOOK, ROOT, Page, Visit, from_here, read_form
from catchment.dashboard.words import LANGUAGES, LOOKS, Words, chosen
from catchment.dashboard.works import Works
from catchment.errors import OPERATOR_CODES, Refused, Rejection
from catchment.limits import Weights
from catchment.venue import Venue

logger = logging.getLogger(__name__)

PAGES: Final[tuple[Page, ...]] = (
    *sign_in.PAGES,
    *accounts.PAGES,
    *overview.PAGES,
    *wallets.PAGES,
    *collect.PAGES,
    *acts.PAGES,
    *history.PAGES,
    *requests.PAGES,
    *live.PAGES,
)
"""Every page. Those with a title are the tabs, in this order."""

FIRST: Final = ("wallets.html", "layout.html", "wallets_part.html")
"""The templates of the first page."""
METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""No Strict-Transport-Security: it would hold for every port of the host, and is the proxy's to say."""


class Site:
    """The pages of one venue. `ended` is set when live connections are to end."""

    def __init__(self, venue: Venue, weights: Weights, ended: asyncio.Event) -> None:
        self._venue = venue
        self._weights = weights
        self._ended = ended
        self._people = People(venue)
        self._works = Works(venue, overview.WORKS)
        self._words = {language: Words(language) for language in LANGUAGES}
        self._files = assets.Files()
        self._tabs = tuple(page for page in PAGES if page.title)
        home, missing = (Page("", handler, open=True) for handler in (_home, _missing))
        self._router = Router(
            [
                Route(f"{assets.STATIC}/{{version}}/{{name}}", self._files.serve, methods=["GET"]),
                *(Route(ROOT + page.path, partial(self._serve, page), methods=[page.method]) for page in PAGES),
                *(Route(path, partial(self._serve, home), methods=["GET"]) for path in ("/", ROOT)),
                Route("/{path:path}", partial(self._serve, missing), methods=METHODS),
            ],
            redirect_slashes=False,
        )

    def warm(self) -> None:
        """Make ready what the first sign-in would wait for; blocks, and changes nothing."""
        prepare()
        for words in self._words.values():
            for template in FIRST:
                words.pages.get_template(template)

    async def close(self) -> None:
        """Stop what long work there is."""
        await self._works.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *HEADERS]
                if b"cache-control" not in names:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await self._router(scope, receive, guarded)

    async def _serve(self, page: Page, request: Request) -> Response:
        visit = self._visit(request)
        try:
            answer = await self._answer(page, visit)
        except ClientDisconnect:
            return Response(status_code=400)
        except Refused as refused:  # a store that cannot be read
            logger.error("%s %s: %s", request.method, page.path, refused)
            answer = refused.rejection if refused.rejection.code > OPERATOR_CODES else errors.UNKNOWN()
        except Exception:
            logger.exception("%s %s failed", request.method, page.path)
            answer = errors.UNKNOWN()
        return visit.refuse(answer) if isinstance(answer, Rejection) else answer

    def _visit(self, request: Request) -> Visit:
        cookies = request.cookies
        language = chosen(cookies.get(LANGUAGE), request.headers.get("accept-language", ""))
        look = cookies.get(LOOK, "")
        return Visit(
            request,
            self._venue,
            self._people,
            self._weights,
            self._words[language],
            look if look in LOOKS else "auto",
            self._tabs,
            self._files.addresses,
            self._ended.is_set,
            self._works,
        )

    async def _answer(self, page: Page, visit: Visit) -> Response | Rejection:
        """Session, form, account, in this order; the first refusal wins."""
        request = visit.request
        token = request.cookies.get(visit.cookie, "")
        visit.session = await self._people.session(token) if token else None
        visit.token = token if visit.session else ""
        if visit.session is None and not page.open:
            return visit.go(f"{ROOT}/sign-in")
        if page.method == "POST":
            if not from_here(request):
                return errors.FOREIGN_FORM()
            form = await read_form(request)
            if isinstance(form, Rejection):
                return form
            if visit.session and not compare_digest(form.get("token", "").encode(), visit.form_token.encode()):
                return errors.FOREIGN_FORM()
            visit.form = form
        if page.operator and not (visit.session and visit.session.operator):
            return errors.NO_SUCH_PAGE()
        if "{account}" in page.path and not await self._found(visit):
            return errors.NO_SUCH_PAGE()
        return await page.handler(visit)

    async def _found(self, visit: Visit) -> bool:
        """Whether there is such an account, and it is for this person to see; the two are not told apart."""
        wanted = visit.request.path_params["account"]
        session = visit.session
        assert session is not None  # pages of an account are not open
        if not session.operator and wanted != session.account:
            return False
        account = await self._venue.account(wanted)
        if isinstance(account, Rejection) or account.id.hex() != wanted:
            return False
        visit.account, visit.account_name = account.id, account.name
        return True


async def _missing(visit: Visit) -> Response | Rejection:
    return errors.NO_SUCH_PAGE()


async def _home(visit: Visit) -> Response | Rejection:
    return visit.go(f"{ROOT}/")
