"""Taking a page: what fires is followed, and who says that they have it is written down for `alerting`.

Composition only: what fires is `alerting.firing`'s, what an acknowledgement does `alerting.rules`', how it is asked
for `streams.gateway.acknowledging`'s. Where the policy says so it is also the contact's `contact.acknowledged`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from alerting.firing import Fired, Firing
from schemas.acknowledgements import Acknowledgement
from schemas.configuration import Configuration
from schemas.events import ContactAcknowledged, Id, to_json
from schemas.topics import ACKNOWLEDGEMENTS, ALERTS
from streams.gateway import NotYetKnown, Publish
from streams.transport import LogClient, Record, TransportError

SOURCE: Final = "/heardback/acknowledgements"
INCIDENT: Final = "heardback-"
RETRY_SECONDS: Final = 2.0
_AGENT: Final[TypeAdapter[str]] = TypeAdapter(Id)
Via = Literal["http", "pagerduty"]
log = structlog.get_logger(__name__)


class Acknowledging:
    """`client` is connected when `start` is called, and its topics exist; `topic` gives a topic's full name,
    `publish` puts events into `contact-events`."""

    def __init__(
        self,
        client: Callable[[], LogClient],
        topic: Callable[[str], str],
        configuration: Configuration,
        publish: Callable[[Sequence[Publish]], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        spec = configuration.alerts
        self._client, self._topic, self._publish, self._now = client, topic, publish, now
        self._firing = Firing([receiver.name for receiver in spec.receivers if receiver.type == "pagerduty"])
        self._acknowledging = {policy.name for policy in configuration.policies if policy.page_acknowledges}
        self._position: dict[int, int] = {}
        self._caught_up = False
        self._work: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow what fires; returns at once."""
        self._work = asyncio.create_task(self._follow(), name="acknowledging")

    async def stop(self) -> None:
        """Stop following."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work

    # -- what is asked

    async def alert(self, alert_id: str, by: str | None) -> bool:
        """Somebody has this alert; whether there is one. One that has ended stays as it is. Raises TransportError,
        and NotYetKnown where it may be one that has not been read yet."""
        fired = self._firing.alert(alert_id)
        if fired is not None:
            await self._write([fired], by, "http")
            return True
        if not self._caught_up:
            raise NotYetKnown
        return self._firing.ended(alert_id)

    async def incident(self, key: str, by: str | None) -> bool:
        """Somebody has the incident that we opened in PagerDuty under this key; whether it is one of ours that
        still fires. Raises as `alert`."""
        found = self._firing.incident(key.removeprefix(INCIDENT)) if key.startswith(INCIDENT) else []
        if not found and not self._caught_up:
            raise NotYetKnown
        await self._write(found, by, "pagerduty")
        return bool(found)

    # -- what is written

    async def _write(self, found: Sequence[Fired], by: str | None, via: Via) -> None:
        """First that the page was taken; a repetition after a failure says both again, which changes nothing."""
        at = self._now()
        records: dict[int, list[Record]] = {}
        for fired in found:
            alert = fired.record
            said = Acknowledgement(
                alert_id=alert["alert_id"],
                customer_id=alert["customer_id"],
                outcome_id=alert.get("outcome_id"),
                at=at,
                by=by,
                via=via,
            )
            value = orjson.dumps(said.model_dump(mode="json"))
            records.setdefault(fired.partition, []).append(Record(key=said.alert_id.encode(), value=value))
        if records:
            await self._client().append(self._topic(ACKNOWLEDGEMENTS.name), records)
            log.info("pages_acknowledged", alerts=len(found), via=via)
        events = {event.event_id: event for fired in found if (event := self._event(fired, by, at)) is not None}
        if events:
            await self._publish(list(events.values()))

    def _event(self, fired: Fired, by: str | None, at: datetime) -> Publish | None:
        """The contact's acknowledgement, where the policy says so: one of a contact at an instant."""
        alert = fired.record
        if alert.get("policy") not in self._acknowledging or alert.get("contact_id") is None:
            return None
        data = {"customer_id": alert["customer_id"], "agent_id": _agent(by)}
        event = ContactAcknowledged.model_validate(
            {
                "specversion": "1.0",
                "id": f"{at.isoformat()} {alert['contact_id']}"[-200:],
                "source": SOURCE,
                "time": at,
                "subject": alert["contact_id"],
                "data": {name: value for name, value in data.items() if value is not None},
            }
        )
        return Publish(event_id=event.id, key=str(alert["customer_id"]).encode(), value=to_json(event))

    # -- what is followed

    async def _follow(self) -> None:
        while True:
            try:
                if not self._caught_up:
                    await self._read_to_the_end()
                async for batch in self._client().follow(self._topic(ALERTS.name), self._position):
                    self._take(batch.partition, batch.values, batch.next_offset)
            except TransportError as error:
                log.warning("alerts_not_followed", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _read_to_the_end(self) -> None:
        topic = self._topic(ALERTS.name)
        self._position = self._position or dict(await self._client().begin_offsets(topic))
        async for batch in self._client().scan(topic, self._position):
            self._take(batch.partition, batch.values, batch.next_offset)
            await asyncio.sleep(0)
        self._caught_up = True

    def _take(self, partition: int, values: Sequence[bytes | None], next_offset: int) -> None:
        for value in values:
            try:
                self._firing.take(partition, orjson.loads(value or b""))
            except (ValueError, KeyError, TypeError) as error:
                log.warning("alert_not_understood", partition=partition, error=type(error).__name__)
        self._position[partition] = next_offset


def _agent(by: str | None) -> str | None:
    """Who it was, where that can be an id."""
    try:
        return None if by is None else _AGENT.validate_python(by)
    except ValidationError:
        return None
