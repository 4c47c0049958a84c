"""The built wheel in a clean environment: what somebody gets who has only `pip install heardback`."""
