"""JSON over HTTP to a test server, blocking: what its command line or a user's browser would ask."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

import orjson

ANSWER_SECONDS = 5.0

# No proxy: all of these servers are on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_json(url: str, parameters: Mapping[str, str] | None = None) -> Any:
    """The decoded answer to a GET. Raises `OSError`, with the server's words where it refused."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    return orjson.loads(_read(urllib.request.Request(url + query)))


def post(url: str, value: object = None) -> bytes:
    """The answer to a POST of `value` as JSON, or of nothing. Raises `OSError`."""
    body = b"" if value is None else orjson.dumps(value)
    return _read(urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}))


def succeeds(url: str) -> bool:
    """Whether a GET is answered with success."""
    try:
        _read(urllib.request.Request(url))
    except OSError:
        return False
    return True


def _read(request: urllib.request.Request) -> bytes:
    try:
        with _opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise OSError(f"{request.full_url}: {error.code} {error.read().decode(errors='replace')}") from error
