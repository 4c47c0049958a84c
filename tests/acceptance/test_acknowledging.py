"""Somebody takes a page: a real process, killed in between, and what is escalated afterwards."""

from __future__ import annotations

import hmac
import json
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from alerting.waits import episode
from tests.acceptance.heardback import Heardback, ago, event, eventually
from tests.servers.receiver import Receiver

CONFIGURATION = """\
calendars:
  always: {always_open: true}
policies:
  - {name: taken, match: {tier: [gold]}, calendar: always, targets: {acknowledgement: 1s, first_response: 2s},
     page_acknowledges: true}
  - {name: all, calendar: always, targets: {first_response: 2s}}
alerts:
  escalations: [{after: 0m, severity: page}, {after: 8s, severity: critical}]
  pagerduty_webhook: {secret: "a secret"}
broker: {partitions: 2, start_timeout_seconds: 20}
"""


def firing(heardback: Heardback, contact_id: str, target: str = "first_response") -> list[dict[str, Any]]:
    """What was said of a contact, in order."""
    alerts = [record.json for record in heardback.records("alerts")]
    return [alert for alert in alerts if (alert["contact_id"], alert["target"]) == (contact_id, target)]


def posted(heardback: Heardback, path: str, body: bytes, **headers: str) -> int:
    """The status of the answer to a POST."""
    request = urllib.request.Request(heardback.url + path, data=body, headers=headers, method="POST")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.slow
def test_a_page_that_somebody_has_is_not_escalated_though_the_process_is_killed(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path, configuration=CONFIGURATION)
    with heardback:
        for contact in ("T-1", "T-2"):
            assert heardback.post(event("contact.opened", contact, customer_id=contact.lower()))[0] == 202
        [page] = eventually(lambda: firing(heardback, "T-1"), what="a page")
        eventually(lambda: firing(heardback, "T-2"), what="another page")
        taken = f"/v1/alerts/{page['alert_id']}/acknowledge"
        assert posted(heardback, "/v1/alerts/of-nobody/acknowledge", b"") == 404
        eventually(lambda: posted(heardback, taken, b'{"by": "ann"}') == 202, what="taken")
        assert len(heardback.records("acknowledgements")) >= 1
        heardback.kill()
        heardback.start()
        escalated = eventually(lambda: firing(heardback, "T-2")[1:], what="the escalation of what nobody has")
        assert escalated[0]["kind"] == "escalation"
        answered = event("message.sent", "T-1", customer_id="t-1", agent_id="ann")
        assert heardback.post({**answered, "id": "answer", "time": ago()})[0] == 202
        eventually(lambda: firing(heardback, "T-1")[-1]["state"] == "resolved", what="the end")
        assert {alert["kind"] for alert in firing(heardback, "T-1")} == {"breach"}
        assert firing(heardback, "T-1")[-1]["acknowledged_by"] == "ann"
        acknowledged = [r.json for r in heardback.records("contact-events") if b"contact.acknowledged" in r.value]
        assert acknowledged == [], "the policy does not say so"


@pytest.mark.slow
def test_what_is_taken_in_pagerduty_is_also_the_contacts_where_the_policy_says_so(tmp_path: Path) -> None:
    with Receiver() as hook:
        receiver = f"  receivers: [{{type: pagerduty, name: pd, secret: k, urls: ['{hook.url}']}}]\n"
        configuration = CONFIGURATION.replace("alerts:\n", "alerts:\n" + receiver)
        customers = tmp_path / "customers.yaml"
        customers.write_text("- {customer_id: c-1, tier: gold}\n")
        heardback = Heardback(tmp_path, configuration=configuration, options=["--customers", str(customers)])
        with heardback:
            assert heardback.post(event("contact.opened", "T-1", customer_id="c-1"))[0] == 202
            [request] = eventually(lambda: hook.accepted[:1], what="an incident")
            key = json.loads(request.body)["dedup_key"]
            page = firing(heardback, "T-1", "acknowledgement")[0]
            assert key == "heardback-" + episode("pd", page)
            body = json.dumps({"event": {"event_type": "incident.acknowledged", "agent": {"summary": "Ann Example"},
                                         "data": {"incident_key": key}}}).encode()  # fmt: skip
            signed = {"X-PagerDuty-Signature": "v1=" + hmac.new(b"a secret", body, sha256).hexdigest()}
            assert posted(heardback, "/v1/webhooks/pagerduty", body, **{"X-PagerDuty-Signature": "v1=00"}) == 401
            eventually(lambda: posted(heardback, "/v1/webhooks/pagerduty", body, **signed) == 202, what="taken")
            end = eventually(
                lambda: [one for one in firing(heardback, "T-1", "acknowledgement") if one["state"] == "resolved"],
                what="the contact is acknowledged",
            )
            assert end[0]["resolution"] == "answered"
            [said] = [r.json for r in heardback.records("contact-events") if b"contact.acknowledged" in r.value]
            assert (said["subject"], said["data"]["agent_id"]) == ("T-1", "Ann Example")
