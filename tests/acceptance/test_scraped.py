"""A running heardback as Prometheus sees it (CONTRACT.md section 7)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from streams.transport import Record
from tests.acceptance.heardback import CONFIGURATION, Heardback, ago, append, event, eventually
from tests.acceptance.test_running import SECRET
from tests.servers.prometheus import Prometheus, check_metrics
from tests.servers.receiver import Receiver

CUSTOMERS = 10_000
PROMISED = {
    *("contacts_opened_total", "outcomes_total", "response_seconds_bucket", "waiting_contacts", "oldest_wait_seconds"),
    *("bounces_total", "dead_ends_total", "silent_closes_total", "alerts_total", "deliveries_total"),
    *("delivery_delay_seconds_bucket", "events_total", "refused_total", "lag_seconds", "deadline_delay_seconds_bucket"),
    *("worst_wait_seconds", "build_info"),
}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heardback]:
    """A heardback to which everything that is measured has happened once."""
    folder = tmp_path_factory.mktemp("scraped")
    with Receiver() as receiver:
        hook = f"{{type: webhook, urls: ['{receiver.url}/'], secret: {SECRET}}}"
        configuration = CONFIGURATION.replace("alerts:\n", f"alerts:\n  receivers: [{hook}]\n")
        configuration = configuration.replace("first_response: 1h", "first_response: 2s").replace(
            "    at_risk", "    dead_end_after: 1s\n    at_risk"
        )
        heardback = Heardback(folder, configuration=configuration)
        append(heardback.broker, "contact-events", [Record(key=b"c-1", value=b"broken")])
        with heardback:
            assert heardback.post(_everything())[0] == 202
            receiver.wait(lambda requests: requests, seconds=60)
            eventually(lambda: _names(heardback.metrics()) >= PROMISED, what="every metric")
            yield heardback


def _everything() -> list[dict[str, object]]:
    to = "mailto:one@example.com"
    return [
        event("contact.opened", "answered", customer_id="c-answered", at=ago(1)),
        event("message.sent", "answered", customer_id="c-answered", agent_id="a-1"),
        event("contact.opened", "bounced", customer_id="c-bounced", sender=to, at=ago(1)),
        event("message.sent", "bounced", customer_id="c-bounced", recipient=to, message_id="<1@x>"),
        event("message.bounced", "bounced", customer_id="c-bounced", direction="outbound", message_id="<1@x>"),
        event("contact.opened", "form", customer_id="c-form", channel="form"),
        event("contact.opened", "closed", customer_id="c-closed"),
        event("contact.closed", "closed", customer_id="c-closed"),
        event("contact.opened", "late", customer_id="c-late"),
    ]


def _names(page: str) -> set[str]:
    return {name.removeprefix("responsiveness_") for name in re.findall(r"^(\w+)[{ ]", page, re.MULTILINE)}


def _series(page: str) -> int:
    return sum(1 for line in page.splitlines() if line.startswith("responsiveness_"))


def test_every_promised_metric_is_there_and_none_is_of_another_kind(busy: Heardback) -> None:
    names = _names(busy.metrics())
    assert names >= PROMISED
    page = busy.metrics()
    assert all(line.startswith(("#", "responsiveness_")) for line in page.splitlines() if line)


@pytest.mark.prometheus
def test_promtool_finds_nothing_wrong_with_the_page_of_a_running_heardback(busy: Heardback) -> None:
    assert check_metrics(busy.metrics()) == []


def test_a_real_prometheus_scrapes_it(prometheus: Prometheus, busy: Heardback) -> None:
    target = f"127.0.0.1:{busy.port}"
    prometheus.scrape(target)
    of = f'instance="{target}"'
    broken = f'responsiveness_outcomes_total{{verdict="broken",target="first_response",{of}}}'
    eventually(lambda: prometheus.value(f"sum({broken})"), what="a breach in Prometheus")
    assert prometheus.value(f"sum(responsiveness_build_info{{{of}}})") == 1
    assert prometheus.value(f'responsiveness_refused_total{{reason="broken_json",{of}}}') == 1
    assert prometheus.scrape_failures() == {}


def test_ten_thousand_customers_do_not_make_more_series(busy: Heardback) -> None:
    before = _series(busy.metrics())
    for first in range(0, CUSTOMERS, 2_500):
        some = [
            event("contact.opened", f"S-{n}", customer_id=f"c-{n}", queue=f"q-{n}") for n in range(first, first + 2_500)
        ]
        assert busy.post(some)[0] == 202
    opened = 'responsiveness_events_total{result="taken",type="contact.opened"} '
    eventually(lambda: _value(busy.metrics(), opened) >= CUSTOMERS, seconds=60, what="all events")
    eventually(lambda: "c-9999" not in busy.metrics(), what="the worst alone")
    # The worst customers by name, at most `worst_customers` of them.
    assert _series(busy.metrics()) <= before + 40


def _value(page: str, name: str) -> float:
    return float(page.partition(name)[2].partition("\n")[0] or 0)
