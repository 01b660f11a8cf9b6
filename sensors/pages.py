"""What the web pages of every app share: who asks, pages of long lists, and the one way an action is carried out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from sensors.errors import Refused
from sensors.wall_clock import in_address

View = Callable[..., HttpResponse]

ROWS_PER_PAGE = 50
LAST_PAGE = 1000


class Request(HttpRequest):
    """A request of somebody who is logged in; LoginRequiredMiddleware lets nobody else through to the pages."""

    user: User
    htmx: HtmxDetails


@dataclass(frozen=True)
class Page:
    """A stretch of a long list. Whether more follows is known without counting the rest."""

    rows: list[Any]
    number: int
    more: bool


def page_of(rows: "QuerySet[Any]", request: HttpRequest) -> Page:
    """The rows of the page that `?page=` names; anything that is no page number means the first."""
    asked = request.GET.get("page", "")
    number = min(max(int(asked), 1), LAST_PAGE) if asked.isdecimal() and len(asked) < 6 else 1
    first = (number - 1) * ROWS_PER_PAGE
    found = list(rows[first : first + ROWS_PER_PAGE + 1])
    return Page(found[:ROWS_PER_PAGE], number, len(found) > ROWS_PER_PAGE)


def overlapping(rows: "QuerySet[Any]", asked: dict[str, str]) -> "QuerySet[Any]":
    """The rows whose `start` to `end` touches the stretch from `from` to `to`, as far as these are given.

    Raises BadRequest as `asked_stretch` does.
    """
    lookups = {"from": "end__gte", "to": "start__lte"}
    return rows.filter(**{lookups[name]: at for name, at in asked_stretch(asked).items()})


def asked_stretch(asked: dict[str, str]) -> dict[str, datetime]:
    """The times `from` and `to` of an address, as far as it has them; raises BadRequest when they make no stretch."""
    ends: dict[str, datetime] = {name: aware(name, asked[name]) for name in ("from", "to") if name in asked}
    if len(ends) == 2 and ends["from"] > ends["to"]:
        raise BadRequest("`from` must not lie after `to`.")
    return ends


def aware(name: str, text: str) -> datetime:
    """The time in an address; raises BadRequest when it is none, has no zone, or is far out of our time."""
    try:
        return in_address(text)
    except ValueError as error:
        raise BadRequest(f"`{name}` {error}.") from error


def live_page(request: Request, page: str, partial: str, context: dict[str, Any]) -> HttpResponse:
    """The whole page, or to htmx only the partial that changes while the page is open."""
    response = render(request, partial if request.htmx else page, context)
    # Without this the browser's back button may show the partial as if it were the page.
    patch_vary_headers(response, ["HX-Request"])
    return response


def takes_post(page: str) -> Callable[[View], View]:
    """For addresses that only act: whoever opens one, after a login in between or from a bookmark, gets `page` instead.

    `page` is the name of a URL with the same primary key.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def posted(request: Any, pk: int) -> HttpResponse:
            if request.method == "POST":
                return view(request, pk)
            return redirect(page, pk) if request.method in ("GET", "HEAD") else HttpResponseNotAllowed(["POST"])

        return posted

    return decorate


def act(request: Request, verb: Callable[[], object], *, done: str, then: str) -> HttpResponse:
    """Carry out `verb`, say what came of it, and go to the form's `next` address or else to `then`."""
    try:
        verb()
    except Refused as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, done)
    asked = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(asked, {request.get_host()}, require_https=request.is_secure())
    return redirect(asked if safe else then)
