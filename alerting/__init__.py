"""From outcomes to people: rules, a durable outbox, receivers. `streams` is never imported here."""
