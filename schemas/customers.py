"""Customers: who is owed an answer (CONTRACT.md section 3), topic `customers` and customer files.

Identities are kept as written; normalising and looking them up belongs to `streams.engine.identity`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.events import Id, Record, Text


class Stakeholder(Record):
    """A person at the customer; `power` and `influence` from 1 to 5."""

    person_id: Id
    name: Text | None = None
    role: Text | None = None
    power: Annotated[int, Field(ge=1, le=5)] | None = None
    influence: Annotated[int, Field(ge=1, le=5)] | None = None


class Customer(Record):
    """A customer. `annual_value` is in units of `currency` (ISO 4217) a year."""

    customer_id: Id
    name: Text | None = None
    kind: Id | None = None
    tier: Id | None = None
    annual_value: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    owner: Id | None = None
    time_zone: Id | None = None
    identities: Annotated[list[Id], Field(max_length=1_000)] = Field(default_factory=list)
    stakeholders: Annotated[list[Stakeholder], Field(max_length=1_000)] = Field(default_factory=list)
