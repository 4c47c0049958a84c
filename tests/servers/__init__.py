"""Real servers for the tests: Kafka, Prometheus, Alertmanager, an HTTP receiver. Nothing here knows heardback."""
