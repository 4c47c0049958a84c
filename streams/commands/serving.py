"""`heardback run` and `heardback worker`: what they are told, and how they end.

What runs is `streams.commands.running`'s, until when `streams.commands.stopping`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams import settings
from streams.commands.arguments import DATA, Broker, DataFolder, KafkaBroker, Port, broker_url, failed, in_words, wrong
from streams.commands.given import ConfigFile, CustomersFile, configuration, customers_of, token_of

Host = Annotated[str, typer.Option(envvar="HEARDBACK_HOST", help="Where HTTP listens; beyond loopback with a token.")]
Token = Annotated[
    Path | None, typer.Option("--token-file", envvar="HEARDBACK_TOKEN_FILE", help="File with the token HTTP asks for.")
]


def run(
    broker: Broker = None,
    config: ConfigFile = Path("heardback.yaml"),
    data: DataFolder = DATA,
    customers: CustomersFile = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    token_file: Token = None,
) -> None:
    """Run everything in one process. That is gateway, stream processors, alert delivery and metrics."""
    _start(broker, config, data, customers, host, port, token_file, None)


def worker(
    role: Annotated[str, typer.Argument(help="streams, alerting, gateway, facts or audit.")],
    broker: KafkaBroker = None,
    config: ConfigFile = Path("heardback.yaml"),
    customers: CustomersFile = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    token_file: Token = None,
) -> None:
    """Run one role, for scaling out on kafka://. Start as many as there are partitions, but one of facts."""
    from streams.commands.auditing import AUDIT
    from streams.commands.running import ROLES

    if role not in (*ROLES, AUDIT):
        wrong(f"found role {role!r}, wanted one of {', '.join((*ROLES, AUDIT))}")
    if broker is None or not broker.startswith("kafka://"):
        wrong("a worker needs --broker kafka://host:9092; sqlite:// is for one process: heardback run")
    _start(broker, config, Path(), customers, host, port, token_file, role)


def _start(
    broker: str | None,
    config: Path,
    data: Path,
    customers: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    role: str | None,
) -> None:
    import asyncio

    from streams import logs
    from streams.commands import reporting, running, stopping
    from streams.commands.auditing import AUDIT, Auditor, arguments, telling
    from streams.commands.checking import PAGERDUTY, RECEIVERS, faults_where
    from streams.facts import FactsError
    from streams.gateway import UnsafeListen
    from streams.track.agent import RefusedInARowError
    from streams.transport import TransportError

    uses = {None: (RECEIVERS, PAGERDUTY), running.ALERTING: (RECEIVERS,), running.GATEWAY: (PAGERDUTY,)}
    loaded = configuration(config, faults_where(uses.get(role, ())))
    known = customers_of(customers)
    token = token_of(token_file)
    logs.configure()
    try:
        if broker is None:
            data.mkdir(parents=True, exist_ok=True)
        place = running.Place(
            broker_url=broker_url(broker, data),
            host=host,
            port=port,
            token=token,
            transport=settings.transport_of(loaded),
            facts_url=reporting.store_url(loaded.facts, None if role else reporting.data_of(broker, data))
            if role in (None, running.GATEWAY, running.FACTS)
            else None,
        )
        if role == running.FACTS and place.facts_url is None:
            wrong("a worker of facts needs facts.url in the configuration, such as postgresql://HOST/DATABASE")
        system = running.System(place, loaded, roles=running.ROLES if role is None else (role,))
    except (UnsafeListen, TransportError, FactsError, ValueError) as unusable:
        wrong(unusable)
    except OSError as broken:
        failed(in_words(broken))
    try:
        every = loaded.audit.every.seconds if role in (None, AUDIT) else 0
        told = telling(system.client, place.transport.topic_prefix, place.transport.partitions, system.now)
        auditor = Auditor(arguments(broker, data, config), every, system.registry, told) if every else None
        asyncio.run(stopping.run_until_stopped(system, known, auditor.run if auditor else None))
    except (TransportError, RefusedInARowError, FactsError, OSError) as broken:
        failed(in_words(broken))
