"""The agent of `contact-events`: facts into contacts, contacts into outcomes, journeys and wake-ups.

A batch is gathered, decided and applied, each touched contact assessed once. Publishing comes before the
tables, and the acknowledgement last, so that a crash anywhere repeats work and loses none (DESIGN section 2,
point 5). What a record means is decided in `streams.track.gather` and `streams.track.decide`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from schemas.configuration import Limits
from schemas.topics import CONTACT_EVENTS, DEAD_LETTERS, JOURNEYS, OUTCOMES
from streams.customers import Customers, affected
from streams.engine.calendar import to_us
from streams.engine.policy import Policies
from streams.engine.timeline import Contact
from streams.metrics import Metrics
from streams.track.decide import decide
from streams.track.desk import Desk, RefusedInARowError
from streams.track.due import JOURNEYS_OF
from streams.track.gather import gather
from streams.track.homes import Home, Homes, home_from_tables
from streams.track.reassessing import JUDGED_BY, judge_anew, version_of
from streams.track.seats import announcements, seat_at_us
from streams.track.state import decode_contact, decode_header, journeys_wake, knew_no_tier
from streams.track.unkept import unkept
from streams.track.waking import wake_up
from streams.track.work import Place, Work
from streams.transport import Batch, Pace, Record, Runtime

__all__ = ["RefusedInARowError", "Track"]

WAKE_UPS_AT_ONCE: Final = 5_000
SEATS_AT_ONCE: Final = 1_000
LOOKS_UP_AFTER: Final = 50  # records, before the clock is asked whether others wait


def _nothing(_: str) -> None:
    """No step is of interest."""


class Track:
    """The agent, its two tables, and the index of each partition that is ours. `after_step` hears the name
    of each step of applying, once it is durable."""

    def __init__(
        self,
        runtime: Runtime,
        policies: Policies,
        customers: Customers,
        limits: Limits,
        metrics: Metrics,
        now: Callable[[], datetime],
        after_step: Callable[[str], None] = _nothing,
    ) -> None:
        self._runtime = runtime
        self._now = now
        self._after_step = after_step
        self.desk = Desk(
            policies=policies,
            customers=customers,
            limits=limits,
            metrics=metrics,
            contacts=runtime.table("contacts"),
            journeys=runtime.table("journeys"),
            seats=runtime.table("seats"),
            partitions=runtime.settings.partitions,
        )
        self._judged = runtime.table("judged")
        self._judged_by = version_of(policies)
        runtime.on_partition_ready(self._ready)
        runtime.on_partition_revoked(self._revoked)
        runtime.agent(CONTACT_EVENTS.name, self.handle)

    # -- partitions come and go ----------------------------------------------------------------------

    @property
    def homes(self) -> Homes:
        """The index of each partition that is ours and ready."""
        return self.desk.homes

    async def _ready(self, partition: int) -> None:
        client, name_of = self._runtime.client, self._runtime.topic_name
        acknowledged = (await client.committed(self._runtime.app_id, name_of(CONTACT_EVENTS.name))).get(partition, 0)
        self.desk.unkept[partition] = await unkept(
            client, partition, acknowledged, name_of(OUTCOMES.name), name_of(JOURNEYS.name)
        )
        contacts, journeys = self.desk.contacts.partition(partition), self.desk.journeys.partition(partition)
        end = (await client.end_offsets(name_of(CONTACT_EVENTS.name)))[partition]
        home = self.homes[partition] = home_from_tables(contacts, journeys)
        home.heard_from = end
        seats = self.desk.seats.partition(partition)
        home.seats.extend(sorted(seats, key=lambda key: seat_at_us(seats[key])))
        self._look_again(home, self._told_meanwhile(home, contacts))
        if self._judged.partition(partition).get(JUDGED_BY) != self._judged_by:
            await judge_anew(home, contacts, to_us(self._now()))

    def _revoked(self, partition: int) -> None:
        self.homes.pop(partition, None)
        self.desk.unkept.pop(partition, None)

    def group_of(self, contact_id: str) -> dict[str, Contact]:
        """A contact and all others of the home that it lives in, or nothing where it does not live here."""
        for partition, home in self.homes.items():
            header = home.headers.get(contact_id)
            if header is not None:
                table = self.desk.contacts.partition(partition)
                names = home.names_of(header.home)
                found = [decode_contact(table[name.encode()]) for name in names]
                living = {state.contact.contact_id: state.contact for state in found if state.moved_to is None}
                if contact_id in living:
                    return living
        return {}

    # -- wake-ups ------------------------------------------------------------------------------------

    async def send_wake_ups(self) -> None:
        """Send `deadline.reached` for what is due, to its own partition, behind every answer there."""
        now = self._now()
        for partition, home in list(self.homes.items()):
            passed = home.due.passed(to_us(now), WAKE_UPS_AT_ONCE)
            if not passed:
                continue
            try:
                await self._send_to(partition, [wake_up(name, wake_us, now) for wake_us, name in passed])
            except BaseException:
                home.due.again(passed)
                raise
            for wake_us, name in passed:
                home.due.sent(name, wake_us)

    async def customers_changed(self, changed: set[str]) -> None:
        """Contacts and journeys of customers (or identities) that changed are looked at again, and move home
        where they must."""
        for home in self.homes.values():
            self._look_again(home, affected(self.desk.customers.directory, home.contacts_of, changed))

    def _told_meanwhile(self, home: Home, contacts: Mapping[bytes, bytes]) -> set[str]:
        """Customers of whom something was told while nobody had the partition: who is claimed by somebody now, who
        has another tier than a clock that runs, and of whom nothing was known: that holds for what is over too."""
        customers = self.desk.customers
        retiered = {
            header.home
            for name, header in home.headers.items()
            if any(clock.tier != customers.tier_of(header.home) for clock in header.running)
            or (customers.tier(header.home) is not None and knew_no_tier(contacts[name.encode()]))
        }
        return affected(customers.directory, home.contacts_of, retiered)

    def _look_again(self, home: Home, customers: Iterable[str]) -> None:
        for customer in customers:
            home.look_again([*home.names_of(customer), JOURNEYS_OF + customer], to_us(self._now()))

    async def _send_to(self, partition: int, records: Sequence[Record]) -> None:
        fence = self._runtime.fence(partition)
        await self._runtime.send(CONTACT_EVENTS.name, {partition: records}, fence=fence)

    # -- a batch -------------------------------------------------------------------------------------

    async def handle(self, batch: Batch) -> None:
        """Gather, decide, apply. Raises `Fenced` where the partition is no longer ours; whatever else is
        raised stops the process, and the batch is handed out again."""
        work = Work(batch.partition, batch.fence, batch.next_offset)
        pace, version = Pace(), self.desk.customers.version
        for index in range(len(batch)):
            gather(Place(batch, index), self.desk, work)
            if not index % LOOKS_UP_AFTER:
                await pace()
        await decide(self.desk, work, pace)
        self._forget_seats(work, max(batch.timestamps_ms, default=0) * 1_000)
        self._note_judged(work)
        await self._apply(work)
        if version != self.desk.customers.version:  # what was told meanwhile did not know of these contacts
            home = self.homes[work.partition]
            self._look_again(home, {home.headers[name].home for name in work.touched if name in home.headers})

    def _forget_seats(self, work: Work, now_us: int) -> None:
        """By then no event that could be taken names a contact for the first time."""
        before_us = now_us - 2 * self.desk.late_us
        seats = self.desk.seats.partition(work.partition)

        def since_us(key: bytes) -> int | None:
            return seat_at_us(seats[key]) if key in seats else None

        for key in self.homes[work.partition].old_seats(before_us, SEATS_AT_ONCE, since_us):
            work.seats.setdefault(key, None)

    def _note_judged(self, work: Work) -> None:
        """Once everything that another configuration judged has been looked at, this one judged it all."""
        left = self.homes[work.partition].judged_by_others
        if left is None:
            return
        left -= work.touched.keys()
        left -= {JOURNEYS_OF + customer for customer in work.journeying}
        if not left:
            work.judged[JUDGED_BY] = self._judged_by

    async def _apply(self, work: Work) -> None:
        """Each step awaited before the next: records, then tables (changelog first), then the index."""
        for name, step in self._steps(work):
            await step()
            self._after_step(name)
        self._index(work)
        for (kind, result), count in work.events.items():
            self.desk.metrics.event(kind, result, count)
        for content in work.started.values():
            self.desk.metrics.started(content)
        for hear in work.heard:
            hear()

    def _steps(self, work: Work) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        here, fence = work.partition, work.fence
        marked = self.desk.unkept[here].marked
        for partition, records in announcements(work).items():
            work.forwarded[partition][:0] = records  # before what is sent on, which may ask whose a contact is

        def sent(topic: str, records: Mapping[int, Sequence[Record]]) -> Callable[[], Awaitable[None]]:
            return lambda: self._runtime.send(topic, records, fence=fence)

        to_send: list[tuple[str, Mapping[int, Sequence[Record]]]] = [
            (OUTCOMES.name, {here: marked(work.outcomes, work.end)} if work.outcomes else {}),
            (JOURNEYS.name, {here: marked(work.journeys, work.end)} if work.journeys else {}),
            (DEAD_LETTERS.name, {0: work.dead} if work.dead else {}),
            (CONTACT_EVENTS.name, work.forwarded),
        ]
        steps = [(name, sent(name, records)) for name, records in to_send if records]
        if work.seats:
            steps.append(("seats", lambda: self.desk.seats.write(here, work.seats, fence=fence)))
        steps.append(("contacts", lambda: self.desk.contacts.write(here, work.contacts, fence=fence)))
        steps.append(("journeys-table", lambda: self.desk.journeys.write(here, work.journey_states, fence=fence)))
        if work.judged:
            steps.append(("judged", lambda: self._judged.write(here, work.judged, fence=fence)))
        return steps

    def _index(self, work: Work) -> None:
        home = self.homes[work.partition]
        if work.judged:
            home.judged_by_others = None
        home.seats.extend(key for key, value in work.seats.items() if value is not None)
        for key, value in work.contacts.items():
            name = key.decode()
            home.put(name, None if value is None else work.headers.get(name) or decode_header(value))
        for name in work.touched:
            header = home.headers.get(name)
            if header is not None:
                home.due.put(name, header.wake_us)
        for key, value in work.journey_states.items():
            home.put_journeys(key.decode(), None if value is None else journeys_wake(value))
