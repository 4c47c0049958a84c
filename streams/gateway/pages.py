"""Pages as a person reads them, and the same as JSON for whoever asks for it.

No page holds a script or a style of its own: both are files of the package, and nothing else may run. Everything
shown is escaped. What a page says is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from streams.engine.calendar import from_us
from streams.gateway.assets import Assets
from streams.gateway.drawing import bar_of

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


class Pages:
    """The templates. `with_token`: whether somebody logs in, and so may log out. `silences_url`: the Alertmanager
    where pages are silenced, which is not done here. `last_week` names the week of the latest whole report."""

    def __init__(
        self,
        *,
        with_token: bool = False,
        silences_url: str | None = None,
        last_week: Callable[[], str] | None = None,
    ) -> None:
        self.assets = Assets()
        self._templates = Environment(
            loader=PackageLoader("streams.gateway"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            words=_words, duration=_duration, open_time=open_time, wall_time=wall_time, local=_local, at=_at,
            at_instant=_at_instant, utc=_utc, is_link=_is_link, matcher=_matcher, segment=_segment, money=_money,
        )  # fmt: skip
        self._templates.globals.update(
            asset=self.assets.path,
            bar=bar_of,
            with_token=with_token,
            last_week=last_week,
            silences=f"{silences_url}/#/silences" if silences_url else None,
        )

    def html(self, status: int, template: str, **content: Any) -> web.Response:
        """A page of one of the templates."""
        return web.Response(status=status, text=self.part(template, **content), content_type="text/html")

    def part(self, template: str, **content: Any) -> str:
        """The text of a template: a page or a part of one."""
        return self._templates.get_template(f"{template}.html").render(**content)


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


def open_time(seconds: float) -> str:
    """`97500` -> `27 h 5 min`: in hours, for a day of open time is not a day."""
    minutes = int(abs(seconds)) // _MINUTE
    hours, rest = divmod(minutes, 60)
    if not minutes:
        return "under 1 min"
    return f"{hours} h {rest} min" if hours and rest else f"{hours} h" if hours else f"{rest} min"


def wall_time(seconds: float) -> str:
    """`425000` -> `4 d 22 h`: the two largest units."""
    minutes = int(max(0.0, seconds)) // _MINUTE
    days, hours, rest = minutes // 1_440, minutes % 1_440 // 60, minutes % 60
    parts = ((days, "d"), (hours, "h"), (rest, "min"))
    first = next((index for index, (count, _) in enumerate(parts) if count), None)
    if first is None:
        return "under 1 min"
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def _local(instant: str, time_zone: str) -> str:
    """`2026-11-14T11:00:00Z` in London -> `Sat 2026-11-14 11:00`, with seconds where there are any."""
    local = datetime.fromisoformat(instant).astimezone(ZoneInfo(time_zone))
    return f"{local:%a %Y-%m-%d %H:%M:%S}" if local.second else f"{local:%a %Y-%m-%d %H:%M}"


def _at(instant_us: int, time_zone: str) -> str:
    """Microseconds since 1970 -> `Sat 14 Nov 11:00` in that zone."""
    return _at_instant(from_us(instant_us), time_zone)


def _at_instant(instant: datetime, time_zone: str) -> str:
    local = instant.astimezone(ZoneInfo(time_zone))
    return f"{local:%a} {local.day} {local:%b %H:%M}"


def _utc(instant_us: int) -> str:
    """Microseconds since 1970 -> `2026-11-14T11:00:00Z`, for `datetime` of HTML."""
    return f"{from_us(instant_us):%Y-%m-%dT%H:%M:%SZ}"


def _is_link(text: str) -> bool:
    """Whether a browser may follow it: nothing but HTTP."""
    return text.startswith(("http://", "https://"))


def _matcher(value: str, label: str) -> str:
    """`c-1`, `customer_id` -> the filter of Alertmanager's form for a new silence, percent-encoded."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return quote(f'{{{label}="{quoted}"}}', safe="")


def _segment(text: str) -> str:
    """An id as the last part of a path: slashes too are percent-encoded."""
    return quote(text, safe="")


def _money(value: float, currency: str | None) -> str:
    """`48000.0`, `GBP` -> `GBP 48,000`."""
    return f"{currency} {value:,.0f}" if currency else f"{value:,.0f}"
