"""The board as people have it: a running heardback, and a real Chromium in front of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
import pytest
from playwright.async_api import Page, expect

from tests.acceptance.heardback import CONFIGURATION, Heardback, ago, event, eventually
from tests.acceptance.test_acknowledging import posted
from tests.servers.chromium import PATIENCE_MS, PHONE, Tab, chromium
from tests.servers.kafka import Kafka

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

expect.set_options(timeout=PATIENCE_MS)

HOSTILE: Final = '<img src=x onerror="document.title=1;alert(1)">'
LONG: Final = "x" * 200
PAGED: Final = CONFIGURATION.replace("alerts:\n", "alerts:\n  from: 2026-01-01T00:00:00Z\n")
HOUR: Final = 3_600
CUSTOMERS: Final = [
    {"customer_id": "alba", "name": "Alba Freight", "tier": "gold", "owner": "anna@example.com", "annual_value": 48_000,
     "currency": "GBP", "identities": ["mailto:ops@alba.example"]},
    {"customer_id": "birch", "name": "Birch Books", "tier": "silver", "owner": "bo@example.com"},
    {"customer_id": "hostile", "name": HOSTILE, "tier": "silver", "owner": HOSTILE},
    {"customer_id": "long", "name": LONG, "tier": "silver", "owner": f"{LONG}@example.com"},
]  # fmt: skip
CONTRAST: Final = """
() => {
  const light = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!words || !element.checkVisibility() || element.closest("svg") || element.closest(".hidden, .skip")) continue;
    const [a, b] = [parts(getComputedStyle(element).color), ground(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName}.${element.className} ${ratio}: ${element.textContent.trim()}`);
  }
  return poor;
}
"""


@pytest.fixture(scope="module")
def heardback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heardback]:
    """One for the tests that only look; those that change something use customers of their own."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "customers.json").write_bytes(orjson.dumps(CUSTOMERS))
    server = Heardback(folder, configuration=PAGED, options=("--customers", str(folder / "customers.json")))
    with server:
        status, _ = server.post(
            [
                event("message.bounced", "mail:1", customer_id=None, direction="inbound", sender="ops@alba.example",
                      at=ago(30 * HOUR)),
                event("contact.opened", "T-1", customer_id="alba", at=ago(26 * HOUR), queue="billing"),
                event("contact.opened", "T-2", customer_id="birch", at=ago(600), channel="chat"),
                event("contact.opened", HOSTILE, customer_id="hostile", at=ago(700), queue=HOSTILE, summary=HOSTILE),
                event("contact.opened", f"T-{LONG}", customer_id="long", at=ago(500), queue=LONG),
            ]
        )  # fmt: skip
        assert status == 202
        yield server


async def opened(tab: Tab, heardback: Heardback, path: str = "/") -> Page:
    await tab.page.goto(heardback.url + path)
    return tab.page


async def told(heardback: Heardback, *events: dict[str, Any]) -> None:
    status, _ = await asyncio.to_thread(heardback.post, list(events))
    assert status == 202


def taken(heardback: Heardback, contact_id: str, by: str) -> int:
    """Somebody acknowledges the page of a contact: the status of the answer."""
    [alert_id] = {one.json["alert_id"] for one in heardback.records("alerts") if one.json["contact_id"] == contact_id}
    return posted(heardback, f"/v1/alerts/{alert_id}/acknowledge", orjson.dumps({"by": by}))


async def fine(tab: Tab) -> None:
    """Nothing went wrong in the browser."""
    assert tab.complaints == []
    assert await tab.violations() == []


def row(page: Page, customer: str) -> Any:
    return page.locator(f'#rows tr[data-customer="{customer}"]')


async def test_it_says_who_waits_in_a_table_with_everything_that_is_known(heardback: Heardback) -> None:
    async with chromium() as tab:
        page = await opened(tab, heardback)
        alba = row(page, "alba")
        await expect(alba).to_contain_text("Alba Freight")
        await expect(alba).to_contain_text("Paged")
        for words in (
            "gold",
            "GBP 48,000",
            "anna",
            "email",
            "bounced",
            "ticket",
            "billing",
            "dead end",
            "over",
            "1 d 6 h",
        ):
            await expect(alba).to_contain_text(words)
        await expect(row(page, "birch")).to_contain_text(re.compile("(49|50) min left"))
        await expect(row(page, "birch")).to_contain_text("In time")
        assert await page.locator("#rows tr").first.get_attribute("data-customer") == "alba"
        await fine(tab)


async def test_a_screen_reader_finds_landmarks_headers_and_what_changed(heardback: Heardback) -> None:
    async with chromium() as tab:
        page = await opened(tab, heardback)
        for landmark in ("banner", "main", "contentinfo", "search"):
            await expect(page.get_by_role(landmark)).to_have_count(1)  # type: ignore[arg-type]
        table = page.get_by_role("table", name="Customers who are waiting")
        await expect(table.get_by_role("columnheader")).to_have_count(7)
        await expect(table.get_by_role("rowheader", name="Alba Freight")).to_have_count(1)
        await expect(page.get_by_role("status")).to_contain_text("customers wait")
        assert await page.get_by_role("status").get_attribute("aria-live") == "polite"
        assert await page.locator("html").get_attribute("lang") == "en"
        for name in ("Tier", "Queue", "Channel", "Owner"):
            await expect(page.get_by_role("combobox", name=name)).to_have_count(1)
        page = await opened(tab, heardback, "/contacts/T-1")
        await expect(page.get_by_role("img", name="counted of")).to_have_count(1)
        await fine(tab)


async def test_what_happens_is_shown_without_reloading(heardback: Heardback) -> None:
    async with chromium() as tab:
        page = await opened(tab, heardback)
        await expect(page.locator("#connection")).to_have_text("live, as of")
        await expect(page.get_by_text("reload to see what changed")).to_be_hidden()
        await page.evaluate("window.loadedOnce = true")
        await expect(row(page, "new-one")).to_have_count(0)
        await told(heardback, event("contact.opened", "N-1", customer_id="new-one", at=ago(2 * HOUR)))
        await expect(row(page, "new-one")).to_contain_text("1 h over")
        await expect(row(page, "new-one")).to_contain_text("Paged")
        assert await asyncio.to_thread(taken, heardback, "N-1", "ann") == 202
        await expect(row(page, "new-one")).to_contain_text("Acknowledged")
        await expect(row(page, "new-one")).to_contain_text("by ann")
        await told(heardback, event("message.sent", "N-1", customer_id="new-one", agent_id="a-1"))
        await expect(row(page, "new-one")).to_have_count(0)
        assert await page.evaluate("window.loadedOnce"), "it is the same page"
        await fine(tab)


async def test_a_filter_is_chosen_in_the_form_and_kept_in_the_address(heardback: Heardback) -> None:
    async with chromium() as tab:
        page = await opened(tab, heardback)
        await page.get_by_label("Tier").select_option("gold")
        await page.get_by_role("button", name="Show").click()
        await page.wait_for_url(lambda url: "tier=gold" in url)
        await expect(page.locator("#rows tr")).to_have_count(1)
        await expect(page.get_by_label("Tier")).to_have_value("gold")
        await expect(page.locator("#connection")).to_have_text("live, as of")
        await told(
            heardback,
            event("contact.opened", "F-1", customer_id="filtered-out", at=ago(9 * HOUR)),
            event("contact.opened", "F-2", customer_id="alba", at=ago(50 * HOUR), channel="phone"),
        )
        await expect(row(page, "alba")).to_contain_text("phone")
        await expect(page.locator("#rows tr")).to_have_count(1)
        await page.reload()
        await expect(page.locator("#rows tr")).to_have_count(1)
        await page.get_by_role("link", name="Show all").click()
        await expect(row(page, "birch")).to_have_count(1)
        await fine(tab)


async def test_what_a_hostile_customer_writes_is_words_on_every_page(heardback: Heardback) -> None:
    async with chromium() as tab:
        for path in ("/", "/customers/hostile", f"/contacts/{quote(HOSTILE, safe='')}", f"/?queue={quote(HOSTILE)}"):
            page = await opened(tab, heardback, path)
            await expect(page.locator("body")).to_contain_text(HOSTILE)
            await page.wait_for_load_state("load")
            assert await page.locator('img[src="x"]').count() == 0
            assert await page.title() != "1"
        page = await opened(tab, heardback)
        await expect(page.locator("#connection")).to_have_text("live, as of")
        drawn = f"{HOSTILE}2"
        await told(heardback, event("contact.opened", drawn, customer_id=drawn, at=ago(HOUR / 2), queue=HOSTILE))
        await expect(page.locator("#rows")).to_contain_text(drawn)
        assert await page.locator('img[src="x"]').count() == 0, "nor in what is sent later"
        await row(page, "hostile").get_by_role("link").first.click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        await fine(tab)


async def test_everything_is_reached_by_the_keyboard_and_an_update_leaves_one_where_one_was(
    heardback: Heardback,
) -> None:
    async with chromium() as tab:
        page = await opened(tab, heardback)
        await expect(page.locator("#connection")).to_have_text("live, as of")
        await page.keyboard.press("Tab")
        await expect(page.locator(":focus")).to_have_text("Skip to the content")
        assert await page.locator(":focus").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        await page.keyboard.press("Enter")
        for _ in range(60):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.textContent") == "Alba Freight":
                break
        focused = page.locator(":focus")
        await expect(focused).to_have_text("Alba Freight")
        await page.evaluate("document.querySelector('tr[data-customer=alba]').dataset.before = 'yes'")
        await told(heardback, event("contact.opened", "K-1", customer_id="alba", at=ago(60), channel="social"))
        await expect(row(page, "alba")).to_contain_text("social")
        assert await row(page, "alba").get_attribute("data-before") is None, "the row was drawn anew"
        await expect(page.locator(":focus")).to_have_text("Alba Freight")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Alba Freight")
        await fine(tab)


@pytest.mark.parametrize("path", ["/", "/customers/alba", "/customers/long", "/contacts/T-1", f"/contacts/T-{LONG}"])
async def test_a_phone_scrolls_no_page_sideways(heardback: Heardback, path: str) -> None:
    async with chromium(size=PHONE) as tab:
        page = await opened(tab, heardback, path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert await tab.too_wide() == 0
        await fine(tab)


@pytest.mark.parametrize("dark", [False, True])
async def test_every_word_stands_out_from_its_ground_in_light_and_in_the_dark(heardback: Heardback, dark: bool) -> None:
    async with chromium(dark=dark) as tab:
        for path in ("/", "/customers/alba", "/contacts/T-1", "/nowhere", "/contacts/nobody"):
            page = await opened(tab, heardback, path)
            if path != "/nowhere":
                assert await page.evaluate(CONTRAST) == []
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(15, 20, 24)") is dark


async def test_without_javascript_it_is_a_page_that_one_reloads(heardback: Heardback) -> None:
    async with chromium(scripts=False) as tab:
        page = await opened(tab, heardback)
        await expect(row(page, "alba")).to_contain_text("Alba Freight")
        await expect(page.locator(".live")).to_contain_text("reload to see what changed")
        await page.get_by_label("Channel").select_option("chat")
        await page.get_by_role("button", name="Show").click()
        await expect(row(page, "birch")).to_have_count(1)
        await expect(row(page, "alba")).to_have_count(0)
        await row(page, "birch").get_by_role("link", name="T-2").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Contact T-2")
        assert tab.complaints == []


async def test_a_contacts_bar_is_as_wide_as_its_time(heardback: Heardback) -> None:
    async with chromium() as tab:
        page = await opened(tab, heardback, "/contacts/T-1")
        widths = await page.eval_on_selector_all(
            ".bar rect:not(.ground)",
            "all => all.map((one) => [one.getAttribute('class'), one.getBoundingClientRect().width])",
        )
        whole = await page.eval_on_selector(".bar .ground", "one => one.getBoundingClientRect().width")
        assert [kind for kind, _ in widths] == ["counted", "over"]
        assert widths[0][1] / whole == pytest.approx(1 / 26, rel=0.05), "one hour of twenty-six was promised"
        assert sum(width for _, width in widths) == pytest.approx(whole, rel=0.01)
        await fine(tab)


async def test_a_page_finds_its_server_again_and_shows_what_happened_meanwhile(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path, configuration=PAGED)
    await asyncio.to_thread(heardback.start)
    try:
        await told(heardback, event("contact.opened", "T-1", customer_id="first", at=ago(2 * HOUR)))
        async with chromium() as tab:
            page = await opened(tab, heardback)
            await page.evaluate("window.loadedOnce = true")
            await expect(row(page, "first")).to_contain_text("Paged")
            await asyncio.to_thread(heardback.stop)
            await expect(page.locator("#connection")).to_contain_text("connection lost")
            await asyncio.to_thread(heardback.start)
            await told(heardback, event("contact.opened", "T-2", customer_id="meanwhile", at=ago(3 * HOUR)))
            await expect(row(page, "meanwhile")).to_contain_text("Paged", timeout=60_000)
            await expect(page.locator("#connection")).to_have_text("live, as of")
            assert await page.evaluate("window.loadedOnce")
            assert await tab.violations() == []
    finally:
        await asyncio.to_thread(heardback.kill)


async def test_behind_a_token_one_logs_in_once_and_out_again(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path, settings={"HEARDBACK_TOKEN": "open-sesame"})
    heardback.begin()
    try:
        async with chromium() as tab:
            await asyncio.to_thread(eventually, lambda: heardback.get("/readyz")[0] == 200, what="ready", seconds=60)
            page = await opened(tab, heardback, "/?tier=gold")
            await page.get_by_label("Token").fill("guess")
            await page.get_by_role("button", name="Log in").click()
            await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
            await page.get_by_label("Token").fill("open-sesame")
            await page.get_by_role("button", name="Log in").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("Who is waiting")
            assert page.url == f"{heardback.url}/?tier=gold"
            await expect(page.locator("#connection")).to_have_text("live, as of")
            assert await page.evaluate("document.cookie") == "", "no script sees the session"
            await page.get_by_role("button", name="Log out").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
            await opened(tab, heardback)
            await expect(page.get_by_label("Token")).to_be_visible()
            assert await tab.violations() == []
    finally:
        heardback.kill()


async def test_a_session_that_is_over_leads_back_to_the_form(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path, settings={"HEARDBACK_TOKEN": "open-sesame"})
    heardback.begin()
    try:
        async with chromium() as tab:
            await asyncio.to_thread(eventually, lambda: heardback.get("/readyz")[0] == 200, what="ready", seconds=60)
            page = await opened(tab, heardback)
            await page.get_by_label("Token").fill("open-sesame")
            await page.get_by_role("button", name="Log in").click()
            await expect(page.locator("#connection")).to_have_text("live, as of")
            await page.context.clear_cookies()
            await asyncio.to_thread(heardback.stop)
            heardback.begin()
            await expect(page.get_by_role("heading", level=1)).to_have_text("Log in", timeout=60_000)
    finally:
        heardback.kill()


@pytest.mark.kafka
async def test_a_gateway_of_its_own_shows_all_partitions_and_explains_what_other_workers_keep(
    kafka: Kafka, tmp_path: Path
) -> None:
    settings = {"HEARDBACK_BROKER__TOPIC_PREFIX": "board-apart-"}

    def apart(role: str) -> Heardback:
        folder = tmp_path / role
        return Heardback(folder, configuration=PAGED, broker=kafka.url, role=role, settings=settings)

    workers = [apart("streams"), apart("alerting"), apart("gateway")]
    try:
        for one in workers:
            await asyncio.to_thread(one.start)
        gateway = workers[-1]
        await told(
            gateway,
            *(event("contact.opened", f"T-{n}", customer_id=f"c-{n}", at=ago((n + 2) * HOUR)) for n in range(8)),
        )
        async with chromium() as tab:
            page = await opened(tab, gateway)
            await expect(page.locator("#rows tr")).to_have_count(8)
            await expect(row(page, "c-7")).to_contain_text("8 h over")
            await expect(row(page, "c-7")).to_contain_text("Paged")
            await row(page, "c-3").get_by_role("link", name="T-3").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("Contact T-3")
            await expect(page.get_by_role("img", name="counted of")).to_have_count(1)
            assert (await asyncio.to_thread(gateway.get, "/contacts/T-99"))[0] == 404
            await fine(tab)
    finally:
        for one in workers:
            one.kill()
