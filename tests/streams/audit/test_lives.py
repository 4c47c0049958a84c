"""Random histories, late, doubled, merged and moved, lived by the whole pipeline: nothing of it is a finding."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from random import Random

import pytest
import yaml

from streams import settings
from tests.acceptance.lives import Life, life, placed
from tests.acceptance.test_live_equals_replay import ONE_CUSTOMER, seeds
from tests.scenarios.pipeline import Pipeline

LIVES = 8
EVER = datetime(1990, 1, 2, tzinfo=UTC)


async def audited(told: Life, seed: int, folder: Path) -> list[str]:
    """What the self-audit finds at the end of a life, everything due since ever being said."""
    configuration = settings.parse(yaml.safe_dump(told.case.config).encode(), file="case")
    alerts = configuration.alerts.model_copy(update={"from_": EVER})
    configuration = configuration.model_copy(update={"alerts": alerts})
    customer_of = {name: contact.customer_id for name, contact in told.replayed.contacts.items()}
    random, start = Random(seed), told.arrivals[0].at if told.arrivals else told.until
    async with Pipeline(f"sqlite:///{folder}/log.sqlite3", configuration, start=start) as pipeline:
        for at, together in groupby(told.arrivals, key=lambda arrival: arrival.at):
            arrivals = list(together)
            if customers := [arrival.customer for arrival in arrivals if arrival.customer]:
                await pipeline.put_customers(at, customers)
            await pipeline.pass_time(at)
            partitions = pipeline.settings.partitions
            await pipeline.put_records(
                [placed(one.event, customer_of, at, partitions, random) for one in arrivals if one.event]
            )
        await pipeline.pass_time(told.until)
        found = await pipeline.audit()
    return [str(finding) for finding in found.findings]


@pytest.mark.parametrize("seed", [*seeds(1, LIVES), 39])
async def test_of_one_customer_each(seed: int, tmp_path: Path) -> None:
    assert await audited(life(seed, without=ONE_CUSTOMER), seed, tmp_path) == []


@pytest.mark.parametrize("seed", seeds(301, LIVES))
async def test_of_contacts_whose_events_name_several_customers(seed: int, tmp_path: Path) -> None:
    assert await audited(life(seed), seed, tmp_path) == []


@pytest.mark.parametrize("seed", seeds(2_001, LIVES))
async def test_of_customers_that_become_known_only_later(seed: int, tmp_path: Path) -> None:
    assert await audited(life(seed, late_customers=True, without=ONE_CUSTOMER), seed, tmp_path) == []
