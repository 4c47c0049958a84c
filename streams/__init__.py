"""Stream processors: contact events in, clocks, outcomes and journeys out. `alerting` is never imported here, except by `cli`."""
