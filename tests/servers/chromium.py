"""A real Chromium with a page in it, and everything that the page complained of.

Each is a browser of its own, without what another test left behind. What a page must show does not belong here.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Page, ViewportSize, async_playwright

EXECUTABLE: Final = "/usr/bin/chromium"
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
DESK: Final = (1280, 900)
PHONE: Final = (390, 844)
PATIENCE_MS: Final = 30_000
_VIOLATIONS: Final = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(event.violatedDirective + " " + event.blockedURI));
"""


class Tab:
    """A page of Chromium; `complaints` are errors on its console, exceptions, and dialogs that opened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("crash", lambda _: self.complaints.append("crashed"))

    async def violations(self) -> list[str]:
        """What the Content-Security-Policy kept the page from; only where scripts may run."""
        return list(await self.page.evaluate("window.violations"))

    async def too_wide(self) -> int:
        """By how many pixels the page is wider than its window; 0 where it does not scroll sideways."""
        found = await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return int(found)

    async def reads(self) -> str:
        """What a person reads on it."""
        return await self.page.inner_text("body")


@asynccontextmanager
async def chromium(
    *,
    size: tuple[int, int] = DESK,
    dark: bool = False,
    scripts: bool = True,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Tab]:
    """A browser with one empty page. `scripts` false: JavaScript is switched off."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=EXECUTABLE, args=list(ARGUMENTS))
        try:
            context = await browser.new_context(
                viewport=ViewportSize(width=size[0], height=size[1]),
                color_scheme="dark" if dark else "light",
                java_script_enabled=scripts,
                extra_http_headers=dict(headers or {}),
            )
            context.set_default_timeout(PATIENCE_MS)
            if scripts:
                await context.add_init_script(_VIOLATIONS)
            yield Tab(await context.new_page())
        finally:
            await browser.close()


def missing() -> str | None:
    """What has to be installed, in words; None when nothing is missing."""
    return None if shutil.which(EXECUTABLE) else "chromium (Debian package chromium)"
