"""One module per source: a payload in, events or a named refusal out. Pure: reading files belongs to `streams.cli`."""
