"""alerting: rules, notices, receivers, and the worker around them."""
