"""Cases gathered from peer systems, run against the engine's calendar and clocks: `python -m tests.conformance FILE`.

The modules translate: a peer's calendar into ours, a peer's events into facts, the engine's answers into the
figures that a case names. Nothing here computes open time or decides what ends a clock.
"""
