"""One request for a page: who asks, of which account, in which language; and the pages that answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from catchment import errors
from catchment.dashboard.people import People, Session, form_token
from catchment.dashboard.words import Words
from catchment.dashboard.works import Works
from catchment.errors import Rejection
from catchment.ledger.balance import AccountId
from catchment.ledger.commands import Trigger
from catchment.limits import MAX_BODY_BYTES, MAX_PARAMETERS, Weights, caller
from catchment.venue import Venue

ROOT: Final = "/dashboard"
LANGUAGE: Final = "catchment-language"
LOOK: Final = "catchment-look"
YEAR_S: Final = 365 * 86_400

Handler = Callable[["Visit"], Awaitable[Response | Rejection]]


@dataclass(frozen=True)
class Page:
    """One row of the table of pages. `path` is under `/dashboard`; with `{account}` in it, only that account's people
    and the operator get in. `open` lets in who has not signed in; a `title` puts it among the tabs."""

    path: str
    handler: Handler
    method: str = "GET"
    title: str = ""
    open: bool = False
    operator: bool = False


@dataclass
class Visit:
    """What a page's handler is given."""

    request: Request
    venue: Venue
    people: People
    weights: Weights
    words: Words
    look: str
    tabs: tuple[Page, ...]
    assets: Mapping[str, str]
    """The addresses of our script and style, by file name."""
    ended: Callable[[], bool]
    works: Works
    session: Session | None = None
    token: str = ""
    account: AccountId = field(default=AccountId(b""))
    account_name: str = ""
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def part(self) -> bool:
        """Whether a page that is already open asks for a piece of itself."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def address(self) -> str:
        """The caller's, as the REST face counts it."""
        return caller(self.request.client)

    @property
    def secure(self) -> bool:
        """Whether the browser speaks TLS with a proxy before us."""
        return self.request.headers.get("x-forwarded-proto") == "https"

    @property
    def cookie(self) -> str:
        """The name of the session's cookie. Cookies do not know ports, and a machine may have two venues."""
        port = self.request.headers.get("host", "").rpartition(":")[2]
        name = f"catchment-{port}" if port.isdigit() else "catchment"
        return f"__Secure-{name}" if self.secure else name

    @property
    def trigger(self) -> Trigger:
        """Who sets off what is done here: the operator's commands are under no quota of a person."""
        return Trigger.OPERATOR if self.session is not None and self.session.operator else Trigger.BUTTON

    @property
    def form_token(self) -> str:
        return form_token(self.token) if self.session else ""

    def hidden(self) -> Markup:
        """The field that every form of a session carries."""
        return Markup('<input type="hidden" name="token" value="{}">').format(self.form_token)

    def path(self, path: str) -> str:
        """The address of a page, of this account if it is one of an account."""
        return ROOT + path.replace("{account}", self.account.hex())

    def shown_tabs(self) -> list[Page]:
        """The pages to go to from here."""
        if self.session is None:
            return []
        return [
            page
            for page in self.tabs
            if (self.account or "{account}" not in page.path) and (self.session.operator or not page.operator)
        ]

    def is_at(self, page: Page) -> bool:
        return self.request.url.path == self.path(page.path)

    def render(self, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """A page, or a piece of one."""
        return HTMLResponse(self.words.pages.get_template(template).render(visit=self, **values), status)

    def refuse(self, rejection: Rejection) -> Response:
        """The page of a refusal; inside an open page, its sentence."""
        template = "refused_part.html" if self.part else "refused.html"
        response = self.render(template, rejection.status, rejection=rejection, sentence=self.words.refusal(rejection))
        if rejection.retry_after is not None:
            response.headers["retry-after"] = str(rejection.retry_after)
        return response

    def go(self, path: str) -> Response:
        """On to another page."""
        if self.part:
            return Response(status_code=204, headers={"hx-redirect": path})
        return RedirectResponse(path, 303)

    def remember(self, response: Response, name: str, value: str, *, session: bool = False) -> Response:
        """Set a cookie; the session's ends with the browser and is read by no script."""
        response.set_cookie(
            name,
            value,
            max_age=None if session else YEAR_S,
            path=ROOT,
            secure=self.secure,
            httponly=True,
            samesite="lax",  # strict would show who follows a link from a chat as signed out; writes have a token
        )
        return response

    def forget(self, response: Response, name: str) -> Response:
        response.delete_cookie(name, path=ROOT, secure=self.secure, httponly=True, samesite="lax")
        return response


async def read_form(request: Request) -> dict[str, str] | Rejection:
    """The fields of a form. Refuses one that is too large, or has too many fields."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return errors.BODY_TOO_LARGE(MAX_BODY_BYTES)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
    except ValueError:
        return errors.ILLEGAL_CHARS("form", "UTF-8")


def from_here(request: Request) -> bool:
    """Whether a browser says that a page of ours sent this form."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site is not None
    return origin.partition("://")[2] == request.headers.get("host")
