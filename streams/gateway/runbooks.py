"""`/runbooks/{name}`: what to do about an alert, at the address that the alert carries.

The pages are the files of `deploy/runbooks`, which the wheel has beside this module; what they say is theirs. A runbook
about heardback being down cannot be read here: README.md there says how to have them elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web
from markdown_it import MarkdownIt

from streams.gateway.pages import Pages

INDEX: Final = "README"
PACKED: Final = Path(__file__).parent / "runbooks"
FOLDER: Final = PACKED if PACKED.is_dir() else Path(__file__).parents[2] / "deploy/runbooks"


class Runbooks:
    """The routes of the runbooks."""

    def __init__(self, pages: Pages, folder: Path = FOLDER) -> None:
        self._pages = pages
        self._files = {file.stem: file for file in folder.glob("*.md")}
        self._markdown = MarkdownIt("commonmark", {"html": False})

    async def page(self, request: web.Request) -> web.Response:
        """A runbook by its name, which is an alert's kind or a rule's name, with or without `.md`; else the index."""
        name = request.match_info.get("name", INDEX).removesuffix(".md")
        file = self._files.get(name)
        if file is None:
            title = "There is no runbook of this name; all that there are begin at /runbooks/."
            return self._pages.html(404, "said", title=title, reasons=[])
        body = self._markdown.render(file.read_text(encoding="utf-8"))
        return self._pages.html(200, "runbook", name="Runbooks" if name == INDEX else name, body=body)
