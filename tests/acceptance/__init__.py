"""Proof that nothing is lost, nobody is paged falsely, and a live run equals its replay, whatever happens."""
