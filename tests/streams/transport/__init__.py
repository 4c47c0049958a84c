"""The transports, each test on both brokers where it can be: the same rules hold on `sqlite://` and `kafka://`."""
