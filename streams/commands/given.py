"""What commands are given by name: the configuration, the customers, the token. Each is read, or every fault is said
on standard error and the command leaves with status 2.

How a file is checked belongs to `streams.settings` and `streams.commands.checking`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.configuration import Configuration
from schemas.customers import Customer
from streams import settings
from streams.commands.arguments import wrong

CONFIG: Final = Path("heardback.yaml")

ConfigFile = Annotated[
    Path, typer.Option("--config", envvar="HEARDBACK_CONFIG", help="The configuration file, heardback.yaml.")
]
CustomersFile = Annotated[
    str | None, typer.Option("--customers", help="Customers to publish at the start: YAML, JSON, JSON Lines or CSV.")
]


def configuration(path: Path | None, faults_of: settings.FaultsOf = settings.no_further_faults) -> Configuration:
    """The configuration in `path`, else in heardback.yaml, else what the environment says; leaves with status 2 and
    every fault where it cannot be used."""
    path = path or (CONFIG if CONFIG.exists() else None)
    try:
        if path is not None:
            return settings.load(path, os.environ, faults_of)
        return settings.parse(b"", file="", environment=os.environ, faults_of=faults_of)
    except settings.ConfigurationError as invalid:
        wrong(*invalid.faults)


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
    """The token in the environment, else in the file, also where the variable is empty; a file that cannot be read
    leaves with status 2."""
    token = os.environ.get("HEARDBACK_TOKEN")
    if token or path is None:
        return token
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as unreadable:
        wrong(f"token file {path}: {getattr(unreadable, 'strerror', None) or 'is not UTF-8'}")
