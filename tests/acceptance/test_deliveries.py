"""What each receiver is told when: real processes, a real Alertmanager, receivers that refuse, stall, reset, leave
and come back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.heardback import Heardback, command, event, eventually
from tests.acceptance.timeline import Timeline, Told
from tests.servers.alertmanager import Alertmanager
from tests.servers.receiver import Answer, Receiver, Request, Reset, Stall

SECRET = "whsec_" + base64.b64encode(b"the secret of the tests").decode()
DUE = 3.0
"""Seconds from a customer's message to the page."""

SOON = 25.0
"""Seconds more that a slow machine may take."""


@pytest.fixture
def pager() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def chat() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def configuration(*receivers: dict[str, Any], **alerts: Any) -> str:
    """Everybody is promised a first response within three seconds."""
    return json.dumps(
        {
            "calendars": {"always": {"always_open": True}},
            "policies": [{"name": "all", "calendar": "always", "targets": {"first_response": "3s"}}],
            "alerts": {"escalations": [{"after": "0m", "severity": "page"}], "receivers": list(receivers), **alerts},
            "broker": {"partitions": 2, "start_timeout_seconds": 30},
        }
    )


def pagerduty(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"type": "pagerduty", "name": "pager", "urls": [receiver.url], "secret": "key", "timeout_seconds": 1, **more}


def slack(receiver: Receiver) -> dict[str, Any]:
    return {"type": "slack", "name": "chat", "urls": [receiver.url], "digest_every": "1s"}


def webhook(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"type": "webhook", "name": "hook", "urls": [receiver.url], "secret": SECRET, "timeout_seconds": 1, **more}


def of_pager(request: Request) -> str:
    """`trigger c-1: T-1 PAGE, T-2 PAGE`."""
    content = request.json()
    if content["event_action"] != "trigger":
        return str(content["event_action"])
    contacts = [f"{line['contact']} {line['state']}" for line in content["payload"]["custom_details"]["contacts"]]
    return f"trigger {content['payload']['component']}: {', '.join(sorted(contacts))}"


def of_hook(request: Request) -> str:
    """`breach firing T-1`."""
    alert = request.json()
    return f"{alert['kind']} {alert['state']} {alert['contact_id']}"


def of_chat(request: Request) -> str:
    """The header of the message."""
    return str(request.json()["blocks"][0]["text"]["text"])


def taken_by(receiver: Receiver, in_words: Callable[[Request], str]) -> Callable[[], list[Told]]:
    """What a receiver took."""
    return lambda: [Told(request.arrived, in_words(request)) for request in receiver.accepted]


def taken_once_by(receiver: Receiver, in_words: Callable[[Request], str]) -> Callable[[], list[Told]]:
    """What a receiver that leaves out repeats took: what it had accepted just before a kill it may be sent again."""

    def told() -> list[Told]:
        first: dict[str | bytes, Request] = {}
        for request in receiver.accepted:
            first.setdefault(request.headers.get("webhook-id") or request.body, request)
        return [Told(request.arrived, in_words(request)) for request in first.values()]

    return told


def notified_by(server: Alertmanager) -> Callable[[], list[Told]]:
    """`firing AC-1`, as Alertmanager notified its own receiver of this module's contacts."""

    def told() -> list[Told]:
        return [
            Told(request.arrived, f"{alert['status']} {alert['labels']['contact_id']}")
            for request in server.pages.accepted
            for alert in request.json()["alerts"]
            if alert["labels"].get("contact_id", "").startswith("AC-")
        ]

    return told


class Desk:
    """What customers and agents do in a running heardback."""

    def __init__(self, heardback: Heardback) -> None:
        self._heardback = heardback

    def asks(self, customer: str, *contacts: str) -> Callable[[], None]:
        """A customer writes, in each of these contacts."""
        return lambda: self._post([event("contact.opened", contact, customer_id=customer) for contact in contacts])

    def answers(self, customer: str, *contacts: str) -> Callable[[], None]:
        """Somebody answers in each of these contacts."""
        sent = "message.sent"
        return lambda: self._post([event(sent, contact, customer_id=customer, agent_id="a-1") for contact in contacts])

    def _post(self, events: list[dict[str, Any]]) -> None:
        status, answer = self._heardback.post(events)
        assert status == 202, answer


@pytest.mark.slow
@pytest.mark.alertmanager
def test_each_receiver_is_told_what_it_must_know_and_nothing_else(
    tmp_path: Path, alertmanager: Alertmanager, pager: Receiver, hook: Receiver
) -> None:
    receivers = [pagerduty(pager), webhook(hook), {"type": "alertmanager", "urls": [alertmanager.url]}]
    told = {"pager": taken_by(pager, of_pager), "hook": taken_by(hook, of_hook), "am": notified_by(alertmanager)}
    with Heardback(tmp_path, configuration=configuration(*receivers)) as heardback:
        story, desk = Timeline(told), Desk(heardback)
        story.at(0, desk.asks("c-1", "AC-1"))
        story.at(0, desk.asks("c-9", "AC-9"))
        story.at(0.2, desk.answers("c-9", "AC-9"))  # in time: nobody hears of it
        story.want("pager", "trigger c-1: AC-1 PAGE", since=DUE, until=DUE + SOON)
        story.want("hook", "breach firing AC-1", since=DUE, until=DUE + SOON)
        story.want("am", "firing AC-1", since=DUE, until=DUE + SOON)
        story.run()
        story.at(0, desk.asks("c-1", "AC-2"))
        story.want("pager", "trigger c-1: AC-1 PAGE, AC-2 PAGE", since=DUE, until=DUE + SOON)
        story.want("hook", "breach firing AC-2", since=DUE, until=DUE + SOON)
        story.want("am", "firing AC-2", since=DUE, until=DUE + SOON)
        story.run()
        story.at(0, desk.answers("c-1", "AC-1"))
        story.want("pager", "trigger c-1: AC-1 answered, AC-2 PAGE", since=0, until=SOON)
        story.want("hook", "breach resolved AC-1", since=0, until=SOON)
        story.want("am", "resolved AC-1", since=0, until=SOON)
        story.run()
        story.at(0, desk.answers("c-1", "AC-2"))
        story.want("pager", "resolve", since=0, until=SOON)
        story.want("hook", "breach resolved AC-2", since=0, until=SOON)
        story.want("am", "resolved AC-2", since=0, until=SOON)
        story.run()


@pytest.mark.slow
def test_receivers_that_stall_refuse_reset_and_leave_delay_no_other_and_are_told_what_still_holds(
    tmp_path: Path, pager: Receiver, hook: Receiver, chat: Receiver
) -> None:
    told = {"pager": taken_by(pager, of_pager), "hook": taken_by(hook, of_hook), "chat": taken_by(chat, of_chat)}
    spec = configuration(pagerduty(pager, timeout_seconds=20), webhook(hook), slack(chat))
    with Heardback(tmp_path, configuration=spec) as heardback:
        story, desk = Timeline(told), Desk(heardback)
        hook.next(Answer(status=503), Reset(), Answer(status=429, retry_after="1"))
        pager.stop()
        story.at(0, desk.asks("c-1", "AC-1", "AC-2"))
        story.want("chat", "PAGE: customer c-1, 2 alerts", since=DUE, until=DUE + SOON)
        story.want("hook", "breach firing AC-1", since=DUE, until=DUE + SOON)
        story.want("hook", "breach firing AC-2", since=DUE, until=DUE + SOON)
        story.run()
        assert len(hook.requests) >= 5, "three tries were for nothing"
        story.at(0, desk.answers("c-1", "AC-1"))
        story.at(0, desk.asks("c-2", "AC-3"))
        story.want("chat", "PAGE: customer c-1", since=0, until=SOON)
        story.want("hook", "breach resolved AC-1", since=0, until=SOON)
        story.want("chat", "PAGE: customer c-2", since=DUE, until=DUE + SOON)
        story.want("hook", "breach firing AC-3", since=DUE, until=DUE + SOON)
        story.run()
        story.at(0, desk.answers("c-2", "AC-3"))
        story.want("chat", "answered: customer c-2", since=0, until=SOON)
        story.want("hook", "breach resolved AC-3", since=0, until=SOON)
        story.run()
        story.at(0, pager.start)  # whatever has ended meanwhile is not paged
        story.want("pager", "trigger c-1: AC-1 answered, AC-2 PAGE", since=0, until=45)
        story.run()
        pager.always(Stall())
        story.at(0, desk.asks("c-3", "AC-4"))
        story.want("chat", "PAGE: customer c-3", since=DUE, until=DUE + SOON)
        story.want("hook", "breach firing AC-4", since=DUE, until=DUE + SOON)
        story.want("pager", "trigger c-3: AC-4 PAGE", since=DUE, until=DUE + SOON)  # it has it, and does not say so
        story.run()
        pager.always(Answer())


@pytest.mark.slow
def test_what_a_receiver_refuses_or_does_not_take_in_time_is_told_to_the_fallback(
    tmp_path: Path, pager: Receiver, hook: Receiver
) -> None:
    told = {"pager": taken_by(pager, of_pager), "hook": taken_by(hook, of_hook)}
    fallback = {"routes": [{"receivers": ["hook"]}], "fallback": "pager", "fallback_after": "2s"}
    spec = configuration(pagerduty(pager), webhook(hook), **fallback)
    with Heardback(tmp_path, configuration=spec) as heardback:
        story, desk = Timeline(told), Desk(heardback)
        hook.next(Answer(status=403))
        story.at(0, desk.asks("c-1", "AC-1"))
        story.want("pager", "trigger c-1: AC-1 PAGE", since=DUE, until=DUE + SOON)
        story.run()
        listed = command("alerts", "list", "--data", heardback.data, "--format", "json", folder=tmp_path)
        assert listed.returncode == 0, listed.stderr
        [alert] = json.loads(listed.stdout)
        assert (alert["contact_id"], alert["receivers"]) == ("AC-1", {"hook": "rejected", "pager": "delivered"})
        story.at(0, hook.stop)
        story.at(0, desk.asks("c-2", "AC-2"))
        story.want("pager", "trigger c-2: AC-2 PAGE", since=DUE + 2, until=DUE + 2 + SOON)
        story.run()
        story.at(0, hook.start)
        story.want("hook", "breach firing AC-2", since=0, until=45)
        story.run()
        story.at(0, desk.answers("c-1", "AC-1"))
        story.want("pager", "resolve", since=0, until=SOON)
        story.run()
        story.at(0, desk.answers("c-2", "AC-2"))
        story.want("pager", "resolve", since=0, until=SOON)
        story.want("hook", "breach resolved AC-2", since=0, until=SOON)
        story.run()


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_where_it_was(tmp_path: Path, pager: Receiver, hook: Receiver) -> None:
    told = {"pager": taken_once_by(pager, of_pager), "hook": taken_once_by(hook, of_hook)}
    heardback = Heardback(tmp_path, configuration=configuration(pagerduty(pager), webhook(hook)))
    with heardback:
        story, desk = Timeline(told), Desk(heardback)
        story.at(0, desk.asks("c-1", "AC-1"))
        story.want("pager", "trigger c-1: AC-1 PAGE", since=DUE, until=DUE + SOON)
        story.want("hook", "breach firing AC-1", since=DUE, until=DUE + SOON)
        story.run()
        story.at(0, desk.asks("c-1", "AC-2"))
        story.at(0.5, heardback.kill)
        story.at(DUE + 1, heardback.start)
        story.want("pager", "trigger c-1: AC-1 PAGE, AC-2 PAGE", since=DUE, until=DUE + 2 * SOON)
        story.want("hook", "breach firing AC-2", since=DUE, until=DUE + 2 * SOON)
        story.run()
        story.at(0, desk.answers("c-1", "AC-1", "AC-2"))
        story.at(0.1, heardback.kill)
        story.at(0.2, heardback.start)
        story.want("pager", "resolve", since=0, until=2 * SOON)
        story.want("hook", "breach resolved AC-1", since=0, until=2 * SOON)
        story.want("hook", "breach resolved AC-2", since=0, until=2 * SOON)
        story.run()
        shown = eventually(lambda: heardback.records("deliveries"), what="deliveries")
        assert {record.json["receiver"] for record in shown} == {"pager", "hook"}
