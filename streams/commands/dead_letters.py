"""`heardback dead-letters list|show|replay`: what was refused, why, and putting it back.

Personal content is masked unless `--reveal`. Where letters lie and where they belong is in `streams.dead_letters`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from schemas.refusals import Reason
from streams.commands.arguments import DATA, Broker, DataFolder, an_instant, broker_url, failed, wrong
from streams.commands.given import configuration
from streams.commands.log import ConfigFile, opened

if TYPE_CHECKING:
    from streams.dead_letters import DeadLetters, Kept

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

LIST_LIMIT: Final = 50
T = TypeVar("T")

Reveal = Annotated[bool, typer.Option("--reveal", help="Show personal content too.")]
ReasonOption = Annotated[Reason | None, typer.Option(help="Only those refused for this reason.")]


@app.command("list", epilog="Example: heardback dead-letters list --reason naive_instant --since 2026-11-21T00:00:00Z")
def list_(
    broker: Broker = None,
    data: DataFolder = DATA,
    config: ConfigFile = None,
    reason: ReasonOption = None,
    since: Annotated[str | None, typer.Option(help="Only those refused at or after this instant.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0 is all.")] = LIST_LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    reveal: Reveal = False,
) -> None:
    """List what was refused and why, newest last. Also while heardback runs."""
    since_at = an_instant(since) if since else None

    async def work(letters: DeadLetters) -> None:
        found: deque[Kept] = deque(maxlen=limit or None)
        count = 0
        async for kept in _readable(letters):
            if reason in (None, kept.letter.reason) and _refused_since(kept, since_at):
                found.append(kept)
                count += 1
        replays = await letters.replays()
        for kept in found:
            line = _line(kept, replays.get(kept.offset), reveal)
            typer.echo(json.dumps(line, ensure_ascii=False) if as_json else _text(line))
        if count > len(found):
            typer.echo(f"… and {count - len(found)} earlier; --limit 0 shows all", err=True)

    _run(broker, data, config, work, writes=False)


@app.command(epilog="Example: heardback dead-letters show 17 --reveal")
def show(
    offset: Annotated[int, typer.Argument(min=0, help="The letter's offset, as list says.")],
    broker: Broker = None,
    data: DataFolder = DATA,
    config: ConfigFile = None,
    reveal: Reveal = False,
) -> None:
    """Show one letter: why it was refused, its headers, its value."""

    async def work(letters: DeadLetters) -> None:
        kept = await _at(letters, offset)
        letter = kept.letter
        for name, value in _line(kept, (await letters.replays()).get(offset), reveal).items():
            typer.echo(f"{name}: {'-' if value is None else value}")
        typer.echo(f"key: {_content(letter.key, reveal)}")
        for name, content in letter.headers:
            typer.echo(f"header {name}: {_content(content, reveal)}")
        typer.echo(f"value: {_content(letter.value, reveal)}")

    _run(broker, data, config, work, writes=False)


@app.command(epilog="Example: heardback dead-letters replay --reason contact_too_large --dry-run")
def replay(
    offset: Annotated[int | None, typer.Argument(min=0, help="The letter's offset, as list says.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every letter.")] = False,
    reason: ReasonOption = None,
    broker: Broker = None,
    data: DataFolder = DATA,
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be put back, and write nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were put back before.")] = False,
) -> None:
    """Put what was refused back where it came from. Unchanged; what is still wrong is refused again."""
    if [offset is not None, every, reason is not None].count(True) != 1:
        wrong("found none or several of OFFSET, --all and --reason, wanted one")

    async def work(letters: DeadLetters) -> None:
        if offset is not None:
            await _at(letters, offset)
        replays = await letters.replays()
        done, before, faults = 0, 0, 0
        async for kept in _readable(letters, offset):
            if reason not in (None, kept.letter.reason):
                continue
            if (last := replays.get(kept.offset)) and not again:
                before += 1
                typer.echo(f"{kept.offset}: was put back already, at {last}; --again repeats it")
                continue
            ended_well = await _put_back(letters, kept, dry_run=dry_run)
            done, faults = done + ended_well, faults + (not ended_well)
        what = "would be put back" if dry_run else "put back"
        typer.echo(f"{done} {what}, {before} put back before, {faults} failed")
        if faults:
            raise typer.Exit(1)

    _run(broker, data, config, work, writes=not dry_run)


async def _put_back(letters: DeadLetters, kept: Kept, *, dry_run: bool) -> bool:
    from streams.transport import RecordTooLarge

    try:
        place = letters.home(kept.letter) if dry_run else await letters.put_back(kept, _now())
    except RecordTooLarge as broken:
        typer.echo(f"{kept.offset}: cannot be put back: {broken}", err=True)
        return False
    typer.echo(f"{kept.offset} -> {place}")
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _readable(letters: DeadLetters, offset: int | None = None) -> AsyncIterator[Kept]:
    """The letters; what is none is said on standard error."""
    from streams.dead_letters import Kept

    async for found in letters.read(offset):
        if isinstance(found, Kept):
            yield found
        else:
            typer.echo(f"{found.offset}: is no dead letter: {found.why}", err=True)


async def _at(letters: DeadLetters, offset: int) -> Kept:
    found = [kept async for kept in _readable(letters, offset)]
    if found:
        return found[0]
    begin, end = await letters.ends()
    return wrong(f"found no dead letter at offset {offset}, wanted one that list names (from {begin} to before {end})")


def _refused_since(kept: Kept, since: datetime | None) -> bool:
    if since is None:
        return True
    try:
        return datetime.fromisoformat(kept.letter.refused_at) >= since
    except (ValueError, TypeError):
        return True  # a letter without a readable instant is shown rather than hidden


def _line(kept: Kept, replayed_at: str | None, reveal: bool) -> dict[str, Any]:
    letter = kept.letter
    return {
        "offset": kept.offset,
        "refused_at": letter.refused_at,
        "reason": str(letter.reason),
        "origin": letter.origin,
        "field": letter.field,
        "detail": letter.detail if reveal else masked(letter.detail),
        "replayed_at": replayed_at,
    }


def _text(line: dict[str, Any]) -> str:
    replayed = f" (put back at {line['replayed_at']})" if line["replayed_at"] else ""
    return f"{line['offset']:>6}  {line['refused_at']}  {line['reason']}  {line['origin']}  {line['detail']}{replayed}"


_PERSONAL: Final = re.compile(r"'[^']*'|\"[^\"]*\"|[^\s'\"<>]+@[^\s'\"<>]+")


def masked(detail: str) -> str:
    """A refusal's detail without what it quotes, and without addresses."""
    return _PERSONAL.sub("***", detail)


def _content(content: bytes | None, reveal: bool) -> str:
    if content is None:
        return "-"
    return content.decode(errors="backslashreplace") if reveal else f"*** ({len(content)} bytes; --reveal shows them)"


def _run(
    broker: str | None,
    data: Path,
    config: Path | None,
    work: Callable[[DeadLetters], Awaitable[None]],
    *,
    writes: bool,
) -> None:
    """Do `work` on the dead letters of the broker that is meant, and say what stands in its way."""
    from streams.transport import BrokerBusy, TopicMismatch, TransportError

    url, prefix = broker_url(broker, data), configuration(config).broker.topic_prefix

    async def all_of_it() -> None:
        from streams.dead_letters import DeadLetters

        async with opened(url, writes=writes) as log:
            letters = DeadLetters(log, prefix)
            await letters.check()
            await work(letters)

    try:
        asyncio.run(all_of_it())
    except TopicMismatch as missing:
        wrong(f"{url}: {missing}")
    except BrokerBusy as busy:
        failed(busy, "stop that process for the moment of putting back, or run heardback on kafka://")
    except TransportError as broken:
        failed(broken)
