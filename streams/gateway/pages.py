"""Pages as a person reads them, and the same as JSON for whoever asks for it.

No script runs in them, and everything shown is escaped. What an explanation says is not decided here: it
is shown as it comes, its names as words.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

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
        self._templates.filters.update(words=_words, shown=_shown, is_link=_is_link, is_table=_is_table)
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
    return name.removesuffix("_seconds").replace("_", " ")


def _shown(value: object, name: str = "") -> str:
    """A single value as a reader wants it; the name of numbers says whether they are seconds."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.endswith("_seconds"):
        return _duration(value)
    return str(value)


def _duration(seconds: float) -> str:
    """`5400` -> `1 h 30 min`."""
    whole = round(seconds)
    parts = ((whole // _DAY, "d"), (whole % _DAY // _HOUR, "h"), (whole % _HOUR // _MINUTE, "min"), (whole % 60, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _is_link(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _is_table(value: Sequence[object]) -> bool:
    """Whether a list is of records with the same names and only single values: readers want columns."""
    first = value[0]
    return isinstance(first, Mapping) and all(
        isinstance(row, Mapping)
        and row.keys() == first.keys()
        and not any(isinstance(cell, Mapping | list | tuple) for cell in row.values())
        for row in value
    )
