"""Any other service through apprise, spoken to for real by its `json://` plugin."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alerting.posting import Rim, Sessions, wall
from alerting.receivers import Receiver, faults, make
from schemas.configuration import ReceiverSpec
from tests.alerting.people import customer_notice
from tests.alerting.records import alerts_of, ended, overdue
from tests.servers.process import free_ports
from tests.servers.receiver import Answer, Reset, Stall
from tests.servers.receiver import Receiver as Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as receiver:
        yield receiver


def through_apprise(url: str, **more: Any) -> Receiver:
    address = url.replace("http://", "json://user:hunter2@") + "/token-abc"
    settings = {"type": "apprise", "urls": [address], "timeout_seconds": 1, **more}
    return make(ReceiverSpec.model_validate(settings), Rim(session=Sessions(), wall=wall))


def notice(customer: str = "c-17", *more: Any) -> Any:
    return customer_notice([*alerts_of(overdue(customer_id=customer)), *more])


async def test_all_that_is_due_is_one_message_in_plain_text(server: Server) -> None:
    over = notice("c-9", alerts_of(overdue(customer_id="c-9"), ended(2, customer_id="c-9"))[-1])
    answers = await through_apprise(server.url).deliver([over, notice()])
    assert [answer.result for answer in answers] == ["delivered"] * 2
    [request] = server.requests
    said = request.json()
    assert said["title"] == "1 customer waits, 1 no longer"
    rows = said["message"].split("\n")
    assert rows[0] == "PAGE: customer c-17"
    assert rows[1].startswith("* PAGE: Customer c-17 has waited 1 h")
    assert "https://desk.example/4711" in rows[2]
    assert "answered: customer c-9" in rows


@pytest.mark.parametrize(
    "behaviour", [Answer(status=500), Answer(status=429), Answer(status=403), Reset(), Stall(), Answer(status=302)],
    ids=str,
)  # fmt: skip
async def test_a_no_is_tried_again_whatever_it_was(server: Server, behaviour: Any) -> None:
    server.always(behaviour)
    [answer] = await through_apprise(server.url).deliver([notice()])
    server.always(Answer())
    assert (answer.result, answer.away) == ("unknown", True)
    assert len(server.requests) == 1, "no redirect is followed"


async def test_nobody_there_is_tried_again() -> None:
    [port] = free_ports(1)
    [answer] = await through_apprise(f"http://127.0.0.1:{port}").deliver([notice()])
    assert answer.result == "unknown"


async def test_a_thousand_customers_are_a_short_message(server: Server) -> None:
    await through_apprise(server.url).deliver([notice(f"c-{number}") for number in range(1_000)])
    [request] = server.requests
    assert request.json()["title"] == "1000 customers wait"
    assert request.json()["message"].startswith("The gravest 10 of 1000:")
    assert len(request.json()["message"]) <= 2_000


async def test_the_address_is_shown_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.always(Answer(status=500))
    settings = {"type": "apprise", "urls": ["json://user:hunter2@127.0.0.1/token-abc"]}
    spec = ReceiverSpec.model_validate(settings)
    made = through_apprise(server.url)
    answers = await made.deliver([notice()])
    logged = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]  # the server's own
    shown = f"{made!r} {spec!r} {answers!r} {logged} {faults(spec, ['other.example'])}"
    assert "hunter2" not in shown
    assert "token-abc" not in shown


def test_it_cannot_be_held_to_hosts_and_says_so(tmp_path: Path) -> None:
    spec = ReceiverSpec.model_validate({"type": "apprise", "urls": ["json://example.com"]})
    assert faults(spec) == []
    assert ["cannot be held" in fault for fault in faults(spec, ["example.com"])] == [True]


def test_where_apprise_is_not_installed_the_configuration_says_what_to_install() -> None:
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "apprise":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from alerting.receivers import faults
from schemas.configuration import ReceiverSpec
print(faults(ReceiverSpec.model_validate({"type": "apprise", "urls": ["json://example.com"]})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "apprise is not installed, wanted: pip install 'heardback[apprise]'" in done.stdout, done.stderr
