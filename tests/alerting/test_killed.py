"""The alerting worker under SIGKILL: no page lost, none told twice, no end missing or overtaken."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.alerting.records import at_risk, ended, escalated, overdue
from tests.alerting.worker import pager, verified, webhook
from tests.servers.alertmanager import Alertmanager
from tests.servers.process import wait_until
from tests.servers.receiver import Answer, Receiver, Reset, Stall

CONTACTS = 60
KILLS = 20


def histories(prefix: str, contacts: int = CONTACTS, customers: int = 7) -> list[dict[str, Any]]:
    """Clocks that warn, breach and escalate; every other one ends. Mixed, each in its own order."""
    randomly = random.Random(prefix)
    left = []
    for number in range(contacts):
        steps = [at_risk(1), overdue(2), escalated(3), *([ended(4)] if ends(number) else [])]
        names = {
            "outcome_id": f"o-{number}",
            "contact_id": f"{prefix}-{number}",
            "customer_id": f"c-{number % customers}",
        }
        left.append([{**step, **names} for step in steps])
    mixed = []
    while left := [steps for steps in left if steps]:
        mixed.append(randomly.choice(left).pop(0))
    return mixed


def ends(number: int) -> bool:
    return number % 2 == 0


class Killed:
    """The process that is killed and started again on the same folder."""

    def __init__(self, folder: Path, spec: Any, records: list[dict[str, Any]]) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "spec.json").write_bytes(orjson.dumps(spec))
        (folder / "records.jsonl").write_bytes(b"\n".join(orjson.dumps(record) for record in records))
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, calls: int | None = None) -> None:
        """Until it is ready, or has killed itself."""
        argv = [sys.executable, "-m", "tests.alerting.killed", str(self.folder)]
        argv += [str(self.folder / "spec.json"), str(self.folder / "records.jsonl")]
        argv += [] if calls is None else [str(calls)]
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, process_group=0)
        self.hears(b"ready")

    def hears(self, word: bytes) -> bool:
        """Whether it says so before it ends."""
        assert self._process is not None
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.strip() == word:
                return True
        return False

    def said(self) -> str:
        """The end of what it wrote on standard error, in all its lives."""
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-2_000:]

    def kill(self) -> None:
        """SIGKILL, by its process id."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def spec_of(*receivers: dict[str, Any]) -> Any:
    """As a file has it."""
    return {
        "escalations": [{"after": "0m", "severity": "page"}, {"after": "1h", "severity": "critical"}],
        "receivers": list(receivers),
    }


def check_recorded(worker: Killed, records: list[dict[str, Any]]) -> None:
    """Topic `alerts` holds every change of every contact, told or not."""
    kinds = {"at_risk": "at_risk", "overdue": "breach", "escalated": "escalation", "ended": "escalation"}
    wanted = {
        (record["contact_id"], kinds[record["stage"]], "resolved" if record["stage"] == "ended" else "firing")
        for record in records
    }
    assert {tuple(one) for one in orjson.loads((worker.folder / "recorded.json").read_bytes())} == wanted


def check_told(hook: Receiver, contacts: int) -> None:
    """What a receiver that removes repeats by `webhook-id` has heard of each contact."""
    heard: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seen: set[str] = set()
    for request in hook.accepted:
        alert = verified(request)
        over = any(state == "resolved" for _, state in heard[alert["contact_id"]])
        if request.headers["webhook-id"] not in seen:
            assert not over, "nothing is told after the end"
            seen.add(request.headers["webhook-id"])
            heard[alert["contact_id"]].append((alert["kind"], alert["state"]))
        else:
            assert alert["state"] == "resolved" or not over, "an end is not overtaken by what it ended"
    for told in heard.values():
        assert len(set(told)) == len(told), "once by alert, kind and state"
    for number in range(contacts):
        told = next((told for name, told in heard.items() if name.endswith(f"-{number}")), [])
        if ends(number):
            assert not told or told[-1][1] == "resolved", f"contact {number}: no end is missing"
        else:
            assert told[-1:] == [("escalation", "firing")], f"contact {number}: no page is lost"


def check_incidents(desk: Receiver, prefix: str, contacts: int, customers: int) -> None:
    """What a pager that knows an incident by its `dedup_key` has in the end: one incident a customer who waits, with
    exactly the contacts that wait; none of a customer of whom all has ended."""
    last: dict[str, dict[str, Any]] = {}
    customer_of: dict[str, str] = {}
    for request in desk.accepted:
        event = request.json()
        if event["event_action"] == "trigger":
            told = waiting_in(event)
            assert told, "nobody is paged for what has ended"
            customer_of[event["dedup_key"]] = event["payload"]["component"]
        last[event["dedup_key"]] = event
    open_incidents = {key: event for key, event in last.items() if event["event_action"] != "resolve"}
    by_customer = {customer_of[key]: waiting_in(event) for key, event in open_incidents.items()}
    assert len(by_customer) == len(open_incidents), "one incident a customer"
    wanted: dict[str, set[str]] = defaultdict(set)
    for number in range(contacts):
        if not ends(number):
            wanted[f"c-{number % customers}"].add(f"{prefix}-{number}")
    assert by_customer == wanted


def waiting_in(event: dict[str, Any]) -> set[str]:
    """The contacts of an event that wait."""
    lines = event["payload"]["custom_details"]["contacts"]
    return {line["contact"] for line in lines if line["state"] in ("warning", "PAGE", "CRITICAL")}


@pytest.mark.slow
def test_killed_at_random_instants_a_pager_has_one_incident_for_each_customer_who_waits(
    tmp_path: Path, hook: Receiver
) -> None:
    randomly = random.Random(7)
    moods = [Answer(status=503), Answer(status=500), Answer(status=429, retry_after="0"), Reset(), Stall(seconds=0.1)]
    records = histories("people", CONTACTS, 14)  # of the even customers all ends, of the odd ones nothing
    worker = Killed(tmp_path / "worker", spec_of(pager(hook.url)), records)
    for _ in range(KILLS):
        worker.start()
        hook.next(*randomly.choices(moods, k=3))
        time.sleep(randomly.uniform(0, 0.4))
        worker.kill()
    worker.start()
    assert worker.hears(b"quiet"), worker.said()
    worker.kill()
    check_incidents(hook, "people", CONTACTS, 14)
    check_recorded(worker, records)


@pytest.mark.slow
def test_killed_at_random_instants_the_fallback_has_whoever_waits_where_a_receiver_refuses_all(
    tmp_path: Path, hook: Receiver
) -> None:
    randomly = random.Random(11)
    records = histories("fallback", 30, 14)
    with Receiver() as refusing:
        refusing.always(Answer(status=403))
        spec = spec_of(webhook(refusing.url), pager(hook.url))
        worker = Killed(
            tmp_path / "worker", {**spec, "routes": [{"receivers": ["hook"]}], "fallback": "pager"}, records
        )
        for _ in range(KILLS // 2):
            worker.start()
            hook.next(*randomly.choices([Answer(status=503), Reset(), Stall(seconds=0.1)], k=2))
            time.sleep(randomly.uniform(0, 0.4))
            worker.kill()
        worker.start()
        assert worker.hears(b"quiet"), worker.said()
        worker.kill()
    check_incidents(hook, "fallback", 30, 14)
    check_recorded(worker, records)


@pytest.mark.slow
def test_killed_after_any_step_a_pager_has_one_incident_for_each_customer_who_waits(
    tmp_path: Path, hook: Receiver
) -> None:
    calls = 0
    finished = False
    while not finished:
        calls += 1
        hook.forget()
        records = histories(f"people{calls}", 2, 1)
        worker = Killed(tmp_path / f"after-{calls}", spec_of(pager(hook.url)), records)
        worker.start(calls)
        finished = worker.hears(b"quiet")
        worker.kill()
        worker.start()
        assert worker.hears(b"quiet"), worker.said()
        worker.kill()
        check_incidents(hook, f"people{calls}", 2, 1)
        check_recorded(worker, records)
    assert calls > 10


@pytest.mark.slow
def test_killed_at_random_instants_it_tells_each_page_and_its_end_once(tmp_path: Path, hook: Receiver) -> None:
    randomly = random.Random(20)
    moods = [Answer(status=503), Answer(status=500), Answer(status=429, retry_after="0"), Reset(), Stall(seconds=0.1)]
    records = histories("random")
    worker = Killed(tmp_path / "worker", spec_of(webhook(hook.url)), records)
    for _ in range(KILLS):
        worker.start()
        hook.next(*randomly.choices(moods, k=5))
        time.sleep(randomly.uniform(0, 0.4))
        worker.kill()
    worker.start()
    assert worker.hears(b"quiet"), worker.said()
    worker.kill()
    check_told(hook, CONTACTS)
    check_recorded(worker, records)


@pytest.mark.slow
def test_killed_after_any_step_it_tells_each_page_and_its_end_once(tmp_path: Path, hook: Receiver) -> None:
    calls = 0
    finished = False
    while not finished:
        calls += 1
        hook.forget()
        records = histories(f"step{calls}", 2)
        worker = Killed(tmp_path / f"after-{calls}", spec_of(webhook(hook.url)), records)
        worker.start(calls)
        finished = worker.hears(b"quiet")
        worker.kill()
        worker.start()
        assert worker.hears(b"quiet"), worker.said()
        worker.kill()
        check_told(hook, 2)
        check_recorded(worker, records)
    assert calls > 10


@pytest.mark.slow
@pytest.mark.alertmanager
def test_killed_at_random_instants_the_real_alertmanager_notifies_each_page_and_its_end_once(
    tmp_path: Path, alertmanager: Alertmanager
) -> None:
    randomly = random.Random(5)
    receiver = {"type": "alertmanager", "urls": [alertmanager.url]}
    worker = Killed(tmp_path / "worker", spec_of(receiver), histories("killed-am", 20))
    for _ in range(6):
        worker.start()
        time.sleep(randomly.uniform(0, 0.3))
        worker.kill()
    worker.start()
    assert worker.hears(b"quiet"), worker.said()

    def told() -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for alert in alertmanager.notifications():
            if (name := alert["labels"].get("contact_id", "")).startswith("killed-am-"):
                found[name].append((alert["labels"]["kind"], alert["status"]))
        return found

    def only_those_who_wait() -> bool:
        firing = {alert["labels"]["contact_id"] for alert in alertmanager.alerts()}
        return {n for n in firing if n.startswith("killed-am-")} == {f"killed-am-{n}" for n in range(20) if not ends(n)}

    wait_until(only_those_who_wait, seconds=60, what="only those who wait fire")
    time.sleep(2)  # what is over is notified within its group's interval
    worker.kill()
    for name, found in told().items():
        assert len(set(found)) == len(found), name
        kinds = {kind for kind, status in found if status == "firing"}
        standing = {kind for kind in kinds if (kind, "resolved") not in found}
        assert standing == (set() if ends(int(name.rpartition("-")[2])) else {"escalation"}), name
