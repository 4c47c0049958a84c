"""The Grafana dashboards as code: `python -m deploy.grafana` writes dashboards/*.json, which are committed.

One module for each dashboard, `panels` for what all have in common. What the numbers mean is said where they are made:
`streams.metrics`, `alerting.metrics`, `deploy/prometheus/rules`. Nothing of heardback imports this, and the SDK is a
development dependency only.
"""
