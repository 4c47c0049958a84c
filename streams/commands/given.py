"""What commands are given by name: the configuration, the customers, the token. Each is read, or every fault is said
on standard error and the command leaves with status 2.

How a file is checked belongs to `streams.settings` and `streams.commands.checking`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from schemas.configuration import Configuration
from schemas.customers import Customer
from streams import settings
from streams.commands.arguments import wrong

ConfigFile = Annotated[
    Path, typer.Option("--config", envvar="HEARDBACK_CONFIG", help="The configuration file, heardback.yaml.")
]
CustomersFile = Annotated[
    str | None, typer.Option("--customers", help="Customers to publish at the start: YAML, JSON, JSON Lines or CSV.")
]


def configuration(path: Path, faults_of: settings.FaultsOf = settings.no_further_faults) -> Configuration:
    """The configuration in `path`, or every fault on standard error and status 2."""
    try:
        return settings.load(path, os.environ, faults_of)
    except settings.ConfigurationError as invalid:
        wrong(*invalid.faults)


def faults_of_receivers(loaded: Configuration) -> Iterator[tuple[Sequence[str | int], str]]:
    """What is wrong with the receivers, each by itself, and routes that can reach nobody."""
    from alerting import receivers, secret
    from streams.commands.checking import faults_of_routes

    for index, receiver in enumerate(loaded.alerts.receivers):
        for fault in receivers.faults(receiver, loaded.alerts.outbound_hosts):
            yield ("alerts", "receivers", index), fault
    yield from faults_of_routes(loaded)
    if (webhook := loaded.alerts.pagerduty_webhook) is not None:
        try:
            secret.given(webhook.secret, webhook.secret_file)
        except ValueError as fault:
            yield ("alerts", "pagerduty_webhook"), str(fault)


def faults_but_secrets(loaded: Configuration) -> Iterator[tuple[Sequence[str | int], str]]:
    """The same where the secrets need not be at hand; says which receivers were not looked at for that."""
    for location, fault in faults_of_receivers(loaded):
        file = None
        if location[1] == "receivers":
            file = loaded.alerts.receivers[int(location[-1])].secret_file
        elif location[1] == "pagerduty_webhook" and loaded.alerts.pagerduty_webhook is not None:
            file = loaded.alerts.pagerduty_webhook.secret_file
        if file is not None and not Path(file).exists():
            typer.echo(f"heardback: not checked, as its secret is not here: {fault}", err=True)
        else:
            yield location, fault


def customers_of(name: str | None) -> list[Customer]:
    """The customers in a file, none where none is named."""
    from streams.files import customers_in

    if name is None:
        return []
    try:
        known, refused = customers_in(name)
    except OSError as unreadable:
        wrong(f"{name}: {unreadable.strerror}")
    if refused:
        wrong(*(f"{line.where}: {refusal.reason}: {refusal.detail}" for line, refusal in refused))
    return known


def token_of(path: Path | None) -> str | None:
    """The token in the environment, else in the file; a file that cannot be read leaves with status 2."""
    token = os.environ.get("HEARDBACK_TOKEN")
    if token is not None or path is None:
        return token
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as unreadable:
        wrong(f"token file {path}: {getattr(unreadable, 'strerror', None) or 'is not UTF-8'}")
