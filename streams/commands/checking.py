"""What `heardback check` says beyond the shape of the configuration: receivers and routes that cannot work, and who is
told.

Matching alerts against routes is `alerting.routes`; reading the file `streams.settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import typer

from alerting import receivers, routes, secret
from alerting.notify import Routes
from schemas.configuration import Configuration
from schemas.customers import Customer

RECEIVERS: Final = "receivers"
PAGERDUTY: Final = "pagerduty_webhook"
NOTHING_PROMISED: Final = "no policy is configured: nothing is promised to anybody, so nobody is ever late"
NOT_SENT: Final = "report.to is set, but no report is sent by mail: they are at /reports/ and made by heardback report"
NOT_CONFIGURED: Final = "no receiver is configured: nobody is told of anything"


def faults_of_routes(
    loaded: Configuration, customers: Sequence[Customer] | None = None
) -> Iterator[tuple[Sequence[str | int], str]]:
    """Routes that can reach nobody. `customers`: all that there are, where they are known."""
    for index, fault in routes.faults(loaded.alerts, _known(loaded, customers)):
        yield ("alerts", "routes", index), fault


def faults_of_receivers(loaded: Configuration) -> Iterator[tuple[Sequence[str | int], str]]:
    """What is wrong with the receivers, each by itself, and routes that can reach nobody."""
    for index, receiver in enumerate(loaded.alerts.receivers):
        for fault in receivers.faults(receiver, loaded.alerts.outbound_hosts):
            yield ("alerts", RECEIVERS, index), fault
    yield from faults_of_routes(loaded)
    if (webhook := loaded.alerts.pagerduty_webhook) is not None:
        try:
            secret.given(webhook.secret, webhook.secret_file)
        except ValueError as fault:
            yield ("alerts", PAGERDUTY), str(fault)


def faults_but_secrets(loaded: Configuration) -> Iterator[tuple[Sequence[str | int], str]]:
    """The same where the secrets need not be at hand; says which receivers were not looked at for that."""
    for location, fault in faults_of_receivers(loaded):
        if _lacks_its_secret(loaded, location):
            typer.echo(f"heardback: not checked, as its secret is not here: {fault}", err=True)
        else:
            yield location, fault


def faults_where(uses: Collection[str]) -> Callable[[Configuration], Iterator[tuple[Sequence[str | int], str]]]:
    """The same of a process that uses only the secrets of these (RECEIVERS, PAGERDUTY): others need not be there."""

    def faults(loaded: Configuration) -> Iterator[tuple[Sequence[str | int], str]]:
        for location, fault in faults_of_receivers(loaded):
            if location[1] in uses or not _lacks_its_secret(loaded, location):
                yield location, fault

    return faults


def _lacks_its_secret(loaded: Configuration, location: Sequence[str | int]) -> bool:
    file = None
    if location[1] == RECEIVERS:
        file = loaded.alerts.receivers[int(location[-1])].secret_file
    elif location[1] == PAGERDUTY and loaded.alerts.pagerduty_webhook is not None:
        file = loaded.alerts.pagerduty_webhook.secret_file
    return file is not None and not Path(file).exists()


def counted(count: int, one: str, many: str) -> str:
    """`1 policy`, `2 policies`."""
    return f"{count} {one if count == 1 else many}"


def warnings(loaded: Configuration) -> list[str]:
    """What is no fault, and perhaps not meant."""
    promises = [] if loaded.policies else [NOTHING_PROMISED]
    reports = [NOT_SENT] if loaded.report.to else []
    return promises + _of_receivers(loaded) + reports


def _of_receivers(loaded: Configuration) -> list[str]:
    if not loaded.alerts.receivers:
        return [NOT_CONFIGURED]
    unheard = routes.unheard(loaded.alerts, _known(loaded, None))
    return [f"no receiver is told of any alert of kind {', '.join(unheard)}"] if unheard else []


def said_in(options: Sequence[str]) -> dict[str, str]:
    """`tier=gold,channel=form` as keys and values. Raises ValueError."""
    said: dict[str, str] = {}
    for part in (part.strip() for option in options for part in option.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise ValueError(f"found {part!r}, wanted key=value pairs such as tier=gold,channel=form,kind=breach")
        if key in said:
            raise ValueError(f"found {key} twice, wanted each key once")
        said[key] = value
    return said


def explained(loaded: Configuration, said: dict[str, str]) -> Iterator[str]:
    """Who would be told of an alert of which this much is said, route by route. Raises ValueError."""
    spec = loaded.alerts
    alert = routes.example(said, spec)
    shown = {"kind": alert["kind"], "severity": alert["severity"], **said}
    yield "An alert: " + ", ".join(f"{key} {value}" for key, value in shown.items())
    told: Sequence[str] = () if spec.routes else Routes(spec).receivers(alert)
    if spec.routes:
        found = routes.looks(spec, alert, said.get("owner"))
        for look in found:
            if look.against is None:
                told = look.receivers
                yield f"  route {look.number}: matches, and no later one is looked at"
            else:
                yield f"  route {look.number}: no, {look.against}"
    else:
        but = " but the fallback" if spec.fallback is not None and spec.fallback not in told else ""
        yield f"  no routes: every receiver{but} is told of everything"
    yield f"  sent to: {', '.join(told) or 'nobody'}"
    if spec.fallback is not None and spec.fallback not in told:
        yield f"  what cannot be delivered there, to the fallback: {spec.fallback}"
    if alert["kind"] in ("breach", "escalation"):
        for step in spec.escalations:
            also = [name for name in step.receivers or () if name not in told]
            if also:
                yield f"  {step.after} of {step.clock} time after the due instant also to: {', '.join(also)}"


def _known(loaded: Configuration, customers: Sequence[Customer] | None) -> routes.Known:
    if customers is None:
        return routes.Known(policies=loaded.policies)
    return routes.Known(
        policies=loaded.policies,
        tiers={customer.tier for customer in customers if customer.tier},
        owners={customer.owner for customer in customers if customer.owner},
    )
