"""What the larger commands of `heardback` do; arguments and exit status stay in `streams.cli`."""
