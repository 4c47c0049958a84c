"""The same story on the pure engine and on the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import orjson

from alerting.rules import Rules
from schemas.topics import JOURNEYS, OUTCOMES
from streams import settings
from streams.commands.replaying import alerts_by
from streams.engine.attributes import Tier
from streams.engine.calendar import to_us
from streams.engine.identity import directory
from streams.replay import Line, replay
from streams.transport import TransportSettings
from tests.scenarios.expected import Came
from tests.scenarios.pipeline import Pipeline
from tests.scenarios.story import Story


def replayed(story: Story) -> Came:
    """A replay of the story, with everything that is known at its end."""
    events = [step.event for step in story.steps if step.event and not step.live_only]
    known, _ = directory([records[-1][1] for records in story.customers().values()])
    result = replay(
        [Line(f"event {number}", orjson.dumps(event)) for number, event in enumerate(events)],
        settings.policies_of(story.configuration),
        known,
        until=story.until,
        alerts_of=alerts_by(Rules(story.configuration.alerts, first_start=story.first_start)),
        tiers_of=tiers_of(story),
    )
    return Came(
        how="replay",
        outcomes=result.outcomes,
        journeys=result.journeys,
        alerts=result.alerts,
        refused=[str(refused.refusal.reason) for refused in result.refused],
    )


def tiers_of(story: Story) -> Callable[[str], Sequence[Tier]]:
    """A customer's tiers with their instants: more than a file of customers says."""

    def of(customer_id: str) -> Sequence[Tier]:
        records = story.customers().get(customer_id, [])
        return [
            Tier(to_us(at) if number else 0, customer.tier, customer.kind)
            for number, (at, customer) in enumerate(records)
        ]

    return of


async def lived(story: Story, url: str, transport: TransportSettings) -> Came:
    """The story as it happens, in the pipeline on a broker."""
    async with Pipeline(
        url, story.configuration, start=story.start, settings=transport, first_start=story.first_start
    ) as pipeline:
        for at, together in groupby(story.steps, key=lambda step: step.arrives):
            steps = list(together)
            if customers := [step.customer for step in steps if step.customer]:
                await pipeline.put_customers(at, customers)
            if events := [step.event for step in steps if step.event]:
                await pipeline.put_events(at, events)
        await pipeline.pass_time(story.until)
        audited = await pipeline.audit()
        return Came(
            how="live",
            outcomes=list((await pipeline.latest(OUTCOMES.name, "outcome_id")).values()),
            journeys=list((await pipeline.latest(JOURNEYS.name, "journey_id")).values()),
            alerts=[noticed.alert for noticed in pipeline.noticed],
            refused=await pipeline.refused(),
            noticed=[noticed.at for noticed in pipeline.noticed],
            audited=[str(finding) for finding in audited.findings],
        )
