"""Pages as a person reads them, and the same as JSON for whoever asks for it.

No script runs in them, and everything shown is escaped. An explanation comes as the JSON that
`streams.engine.explain` makes; what it says is not decided here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


class Pages:
    """The templates, and the policy under which a browser shows what they make."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("streams.gateway"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters.update(words=_words, duration=_duration, local=_local, is_link=_is_link)
        source = PackageLoader("streams.gateway").get_source(self._templates, "style.css")[0]
        self._templates.globals["style"] = source
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        self.content_security_policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def html(self, status: int, template: str, **content: Any) -> web.Response:
        """A page of one of the templates."""
        text = self._templates.get_template(f"{template}.html").render(**content)
        return web.Response(status=status, text=text, content_type="text/html")


def answer(request: web.Request, status: int, words: Sequence[str], content: Mapping[str, Any]) -> web.Response:
    """`words` as plain text, a line each, or `content` as JSON for whoever asks for that."""
    if wants_json(request):
        return json_answer(status, content)
    return web.Response(status=status, text="\n".join(words) + "\n")


def json_answer(status: int, content: Mapping[str, Any]) -> web.Response:
    """JSON, indented for readers."""
    body = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(status=status, body=body, content_type="application/json")


def wants_json(request: web.Request) -> bool:
    """By `?format=json`, else where `Accept` names JSON and does not prefer a page."""
    asked = request.query.get("format")
    if asked is not None:
        return asked == "json"
    accepted = _weights(",".join(request.headers.getall("Accept", ())))
    return accepted.get("application/json", 0.0) > accepted.get("text/html", 0.0)


def _weights(accept: str) -> dict[str, float]:
    """What each media type named weighs (RFC 9110, 12.5.1); what is not a weight is 1."""
    weights = {}
    for part in accept.split(",")[:50]:
        media_type, _, parameters = part.partition(";")
        name, _, number = parameters.strip().partition("=")
        try:
            weights[media_type.strip().lower()] = float(number) if name.strip().lower() == "q" else 1.0
        except ValueError:
            weights[media_type.strip().lower()] = 1.0
    return weights


def _words(name: str) -> str:
    """`first_response` -> `first response`."""
    return name.replace("_", " ")


def _duration(seconds: float) -> str:
    """`5400` -> `1 h 30 min`."""
    whole = round(seconds)
    parts = ((whole // _DAY, "d"), (whole % _DAY // _HOUR, "h"), (whole % _HOUR // _MINUTE, "min"), (whole % 60, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _local(instant: str, time_zone: str) -> str:
    """`2026-11-14T11:00:00Z` in London -> `Sat 2026-11-14 11:00`, with seconds where there are any."""
    local = datetime.fromisoformat(instant).astimezone(ZoneInfo(time_zone))
    return f"{local:%a %Y-%m-%d %H:%M:%S}" if local.second else f"{local:%a %Y-%m-%d %H:%M}"


def _is_link(text: str) -> bool:
    """Whether a browser may follow it: nothing but HTTP."""
    return text.startswith(("http://", "https://"))
