"""Stream processors: contact events in, clocks, outcomes and journeys out. Only `cli` knows `alerting`."""
