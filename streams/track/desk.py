"""What the parts of the agent share: policies, customers, bounds, the two tables, the index of each partition.

Looking things up only; deciding belongs to `streams.track.gather` and `streams.track.decide`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from schemas.configuration import Limits
from schemas.refusals import Refusal
from streams.customers import Customers
from streams.engine.calendar import SECOND_US
from streams.engine.policy import Policies
from streams.metrics import Metrics
from streams.track.homes import Homes
from streams.track.state import ContactState, decode_contact
from streams.track.traces import Traces
from streams.track.unkept import Unkept
from streams.track.work import Place, Work
from streams.transport import BulkTable, partition_for


class RefusedInARowError(RuntimeError):
    """So many records in a row were refused that something is wrong with the topic, not with a record."""


@dataclass(slots=True)
class Desk:
    """One worker's view. `homes` has the partitions that are ours and ready."""

    policies: Policies
    customers: Customers
    limits: Limits
    metrics: Metrics
    contacts: BulkTable
    journeys: BulkTable
    seats: BulkTable
    partitions: int
    homes: Homes = field(default_factory=Homes)
    traces: Traces = field(default_factory=Traces)
    unkept: dict[int, Unkept] = field(default_factory=dict)
    refused_in_a_row: int = 0

    @property
    def late_us(self) -> int:
        """How late an event may come (C20)."""
        return self.limits.late_after.seconds * SECOND_US

    def partition_of(self, customer_id: str) -> int:
        """The home of a customer."""
        return _partition_of(customer_id, self.partitions)

    def state(self, name: str, work: Work) -> ContactState | None:
        """A contact of the batch's partition as the batch has left it so far, or None."""
        state = work.states.get(name)
        if state is not None:
            return state
        value = self.contacts.partition(work.partition).get(name.encode())
        if value is None:
            return None
        work.before.setdefault(name, value)
        work.states[name] = state = decode_contact(value)
        return state

    def living(self, names: Iterable[str], home: str, work: Work) -> dict[str, ContactState]:
        """Contacts among `names` that live in that home, by their id, in the order of their names."""
        return living([state for name in sorted(names) if (state := self.state(name, work)) is not None], home)

    def note_tier(self, state: ContactState) -> bool:
        """A change of tier acts from its instant on (C16); the first that is known holds from the start. Whether it
        is news to this contact."""
        now = self.customers.tier(state.contact.customer_id)
        if now is None:
            return False
        if not state.tiers:
            state.tiers = [replace(now, since_us=0)]
        elif (state.tiers[-1].tier, state.tiers[-1].kind) != (now.tier, now.kind):
            state.tiers.append(now)
        else:
            return False
        return True

    def refuse(self, place: Place, refusal: Refusal, work: Work) -> None:
        """Send a record to `dead-letters`. Raises RefusedInARowError when it is one too many."""
        work.dead.append(place.dead_letter(refusal))
        work.heard.append(lambda: self.metrics.refused(str(refusal.reason)))
        self.refused_in_a_row += 1
        if self.refused_in_a_row > self.limits.refusals_in_a_row:
            at = f"{place.batch.topic}/{place.batch.partition}/{place.batch.offsets[place.row]}"
            raise RefusedInARowError(
                f"{self.refused_in_a_row} records in a row were refused, the last as {refusal.reason} "
                f"at {at}; nothing more is diverted until somebody has looked"
            )


def living(states: Iterable[ContactState], home: str) -> dict[str, ContactState]:
    """Those that live in that home, by contact; a copy gives way to the contact itself."""
    here = [state for state in states if state.moved_to is None and state.home == home]
    return {state.contact.contact_id: state for state in sorted(here, key=lambda state: not state.is_copy)}


@lru_cache(maxsize=65_536)
def _partition_of(customer_id: str, partitions: int) -> int:
    return partition_for(customer_id.encode(), partitions)
