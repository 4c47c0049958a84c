"""Brokers as Faust sees them: batches in, batches out, bulk tables, on `sqlite://` and `kafka://`."""
