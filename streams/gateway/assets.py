"""Style, script and icon of the pages, served from the package under names that change with their content.

So a browser may keep them for ever and never shows a page with yesterday's script. Nothing comes from elsewhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from aiohttp import web

PREFIX: Final = "/static/"
_MEDIA_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file; `path` is where it is served, with 12 hex digits of its content."""

    name: str
    path: str
    body: bytes
    media_type: str


class Assets:
    """All files of the package's folder `static`, read once."""

    def __init__(self) -> None:
        self._by_name = {found.name: found for found in map(_asset, _files())}
        self._by_path = {found.path: found for found in self._by_name.values()}

    def path(self, name: str) -> str:
        """Where `name` is served. Raises KeyError for what is not in the package."""
        return self._by_name[name].path

    async def answer(self, request: web.Request) -> web.Response:
        """The file, or 404; an old name is not answered with new content."""
        found = self._by_path.get(request.path)
        if found is None:
            raise web.HTTPNotFound(text="There is no such file here.")
        headers = {"Cache-Control": _FOR_EVER, "Content-Type": f"{found.media_type}; charset=utf-8"}
        return web.Response(body=found.body, headers=headers)


def _files() -> list[tuple[str, bytes]]:
    folder = resources.files("streams.gateway") / "static"
    return [(file.name, file.read_bytes()) for file in folder.iterdir() if file.name.rpartition(".")[2] in _MEDIA_TYPES]


def _asset(file: tuple[str, bytes]) -> Asset:
    name, body = file
    stem, _, kind = name.rpartition(".")
    digest = hashlib.sha256(body).hexdigest()[:12]
    return Asset(name=name, path=f"{PREFIX}{stem}.{digest}.{kind}", body=body, media_type=_MEDIA_TYPES[kind])
