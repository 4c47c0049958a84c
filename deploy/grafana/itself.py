"""*heardback itself*: whether it sees, decides and tells, and what it refuses."""

from __future__ import annotations

from typing import Any

from deploy.grafana.panels import (
    ANY_IS_A_WARNING,
    ANY_IS_BAD,
    COUNT,
    GREEN,
    PER_SECOND,
    RED,
    SECONDS,
    YELLOW,
    YES_OR_NO,
    Query,
    board,
    graph,
    listing,
    number,
)

_READY = ((None, RED), (1, GREEN))


def itself() -> Any:
    """The dashboard."""
    return board(
        "heardback: itself",
        "heardback-itself",
        "Whether heardback can see, decide and tell. While it cannot, the other dashboards show the past.",
        ("Now", _numbers()),
        ("Seeing", _seeing()),
        ("Deciding", _deciding()),
        ("Telling", _telling()),
        ("Self-audit", _audit()),
    )


def _numbers() -> list[Any]:
    return [
        number("Up", "Processes of heardback that answer Prometheus.", COUNT, 'sum(up{job="heardback"})',
               steps=_READY, runbook="HeardbackDown"),
        number("All ready", "Whether every process has all its partitions recovered and reads them.", YES_OR_NO,
               "min(responsiveness_ready)", steps=_READY, runbook="HeardbackNotReady"),
        number("Behind", "The age of the oldest record that is not handled yet, over all partitions.", SECONDS,
               "max(responsiveness_lag_seconds)", steps=((None, GREEN), (10, YELLOW), (60, RED)),
               runbook="HeardbackLags"),
        number("Refused within a day", "Records that were refused and are in dead-letters.", COUNT,
               "round(sum(increase(responsiveness_refused_total[1d])))", steps=ANY_IS_A_WARNING,
               runbook="RecordsRefused"),
        number("Owed to receivers", "Alerts, or customers, that a receiver has yet to be told of.", COUNT,
               "sum(responsiveness_deliveries_owed)", steps=((None, GREEN), (10, YELLOW), (100, RED)),
               runbook="AlertsNotDelivered"),
        number("Receivers away", "Receivers that take nothing and are only probed.", COUNT,
               "sum(responsiveness_receiver_away)", steps=ANY_IS_BAD, runbook="AlertsNotDelivered"),
    ]  # fmt: skip


def _seeing() -> list[Any]:
    return [
        graph("Behind, by partition", "The age of the oldest record that is not handled yet. Customers of that "
        "partition may have been answered without heardback knowing.", SECONDS,
              Query("max by (partition) (responsiveness_lag_seconds)", "{{partition}}"), runbook="HeardbackLags"),
        graph("Ready", "1 while a process does its work, 0 while it starts or recovers its tables.", YES_OR_NO,
              Query("responsiveness_ready", "{{instance}}"), runbook="HeardbackNotReady"),
        graph("Records read, by what became of them", "Woken and stale are heardback's own wake-ups; forwarded "
        "ones went to their customer's home.", PER_SECOND,
              Query("sum by (result) (rate(responsiveness_events_total[$__rate_interval]))", "{{result}}"),
              runbook="NoContactEvents"),
        graph("Refused, by reason, per hour", "What each reason means is in the README.", COUNT,
              Query("round(sum by (reason) (increase(responsiveness_refused_total[1h]))) > 0", "{{reason}}"),
              bars=True, stacked=True, runbook="MostRecordsRefused"),
    ]  # fmt: skip


def _deciding() -> list[Any]:
    return [
        graph("From a deadline to its handling", "Half, and ninety-nine of a hundred, over ten minutes.", SECONDS,
              Query("histogram_quantile(0.5, sum by (le) (rate(responsiveness_deadline_delay_seconds_bucket[10m])))",
                    "half"),
              Query("histogram_quantile(0.99, sum by (le) (rate(responsiveness_deadline_delay_seconds_bucket[10m])))",
                    "99 of 100"), runbook="DeadlinesLate"),
        graph("Alerts by kind and state, per hour", "What was decided: fired, and resolved.", COUNT,
              Query("round(sum by (kind, state) (increase(responsiveness_alerts_total[1h])))", "{{kind}} {{state}}"),
              bars=True, stacked=True, runbook="blind"),
    ]  # fmt: skip


def _telling() -> list[Any]:
    return [
        graph("From an alert to its receiver's yes", "Half, and ninety-nine of a hundred, over ten minutes.", SECONDS,
              Query("histogram_quantile(0.5, sum by (le) (rate(responsiveness_delivery_delay_seconds_bucket[10m])))",
                    "half"),
              Query("histogram_quantile(0.99, sum by (le) (rate(responsiveness_delivery_delay_seconds_bucket[10m])))",
                    "99 of 100"), runbook="DeliverySlow"),
        graph("Deliveries by receiver and result", "Not taken and unknown are tried again; rejected and gave up "
        "are lost to that receiver.", PER_SECOND,
              Query("sum by (receiver, result) (rate(responsiveness_deliveries_total[$__rate_interval]))",
                    "{{receiver}} {{result}}"), runbook="AlertsNotDelivered"),
        graph("Owed, by receiver", "Grows while a receiver is away, or slower than we page.", COUNT,
              Query("sum by (receiver) (responsiveness_deliveries_owed)", "{{receiver}}"),
              runbook="AlertsNotDelivered"),
        graph("Facts for reports, behind", "How long ago the facts that reports are made from were last complete. "
              "Pages do not wait for them.", SECONDS, Query("max(responsiveness_facts_delay_seconds)", "behind"),
              runbook="FactsBehind"),
        listing("What runs", "Which heardback runs where.", COUNT,
                {"processes": "count by (instance, version, python_version) (responsiveness_build_info)"}, span=24),
    ]  # fmt: skip


def _audit() -> list[Any]:
    return [
        number("Findings", "Where what heardback says differs from what its own log shows, in the last self-audit.",
               COUNT, "sum(responsiveness_audit_findings)", steps=ANY_IS_BAD, runbook="AuditFindings"),
        number("Since the last audit", "Nothing while none has come to its end yet.", SECONDS,
               "time() - max(responsiveness_audit_last_run_timestamp_seconds > 0)",
               steps=((None, GREEN), (7_200, YELLOW)), runbook="AuditNotRunning"),
        graph("Findings by kind", "What each kind is: the runbook.", COUNT,
              Query("sum by (kind) (responsiveness_audit_findings)", "{{kind}}"), span=8, runbook="AuditFindings"),
        graph("Contacts looked at", "Judged, or why not. Many that are beyond the log: it is kept for too short a time "
              "to be audited.", COUNT, Query("sum by (state) (responsiveness_audit_contacts)", "{{state}}"), span=8,
              runbook="AuditFindings"),
        graph("How long an audit takes", "Each in a process of its own.", SECONDS,
              Query("max(responsiveness_audit_duration_seconds)", "duration"), runbook="AuditNotRunning"),
        graph("Audits that did not come to an end, per hour", "They are tried again the next time.", COUNT,
              Query("round(sum(increase(responsiveness_audit_failures_total[1h])))", "failed"), bars=True,
              runbook="AuditNotRunning"),
    ]  # fmt: skip
