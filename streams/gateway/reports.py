"""`/reports/{week}`: a week's report as a page, or by `?format=` as json, csv or md. What it says is handed in."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from aiohttp import web

from streams.gateway.intake import RETRY_AFTER_SECONDS
from streams.gateway.pages import Pages, json_answer, wants_json
from streams.gateway.service import Gateway, ReportsAway

HTML: Final = "html"


class Reports:
    """The route of the reports."""

    def __init__(self, gateway: Gateway, pages: Pages) -> None:
        self._gateway = gateway
        self._pages = pages

    async def report(self, request: web.Request) -> web.Response:
        """The report of a week."""
        if self._gateway.report is None:
            return self._said(request, 404, "No facts are kept here: there are no reports.")
        week = request.match_info["week"]
        try:
            found = await self._gateway.report(week, request.query.get("format") or _format(request))
        except ValueError as wrong:
            return self._said(request, 400, f"{str(wrong)[:1].upper()}{str(wrong)[1:]}.")
        except ReportsAway:
            return self._said(request, 503, "The facts cannot be read at the moment.")
        if found is None:
            return self._said(request, 404, f"There are no facts of week {week}.")
        response = web.Response(body=found.body, content_type=found.content_type, charset="utf-8")
        if found.style is not None:
            response.headers["Content-Security-Policy"] = _policy(found.style)
        return response

    def _said(self, request: web.Request, status: int, words: str) -> web.Response:
        if wants_json(request):
            response = json_answer(status, {"error": words, "reasons": []})
        else:
            response = self._pages.html(status, "said", title=words, reasons=[])
        if status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


def _policy(style: str) -> str:
    """The page may use the style that it holds, by its hash (CSP 3, 6.7.3.3), and load nothing."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _format(request: web.Request) -> str:
    return "json" if wants_json(request) else HTML
