"""Where the facts are said to be: in the configuration, in the environment, in a file, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.configuration import FactsSpec, ReportSpec
from streams import settings
from streams.commands.reporting import Reports, data_of, format_of, store_url
from streams.facts import FactsError, Store
from streams.gateway import ReportsAway


def test_without_a_url_facts_are_under_the_data_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c=d#e%20f"
    store = Store(store_url(FactsSpec(), folder))
    assert Path(store.url.database or "") == folder / "facts.sqlite3"
    assert store_url(FactsSpec(), None) is None


def test_the_environment_says_it_and_may_name_a_file(tmp_path: Path) -> None:
    said = settings.parse(b"", file="none", environment={"HEARDBACK_FACTS__URL": "postgresql://host/db"})
    assert store_url(said.facts, tmp_path) == "postgresql://host/db"
    (tmp_path / "url").write_text("postgresql://secret@host/db\n")
    said = settings.parse(b"", file="none", environment={"HEARDBACK_FACTS__URL_FILE": str(tmp_path / "url")})
    assert store_url(said.facts, None) == "postgresql://secret@host/db"
    with pytest.raises(FactsError, match="absent: No such file"):
        store_url(FactsSpec(url_file=str(tmp_path / "absent")), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("facts: {url: 'mysql://u:marked@h/d'}", "2: facts.url: found another kind of URL, wanted sqlite:///PATH"),
        ("facts: {url: 'sqlite:///x', url_file: y}", "2: facts: found url and url_file, wanted one of them"),
        ("facts: {path: x}", "2: facts.path: found an unknown key"),
        ("report: {time_zone: Mars/Olympus}", "2: report.time_zone: found 'Mars/Olympus', wanted an IANA time zone"),
        ("report: {week_starts: friday}", "2: report.week_starts: "),
    ],
)
def test_a_fault_is_said_with_its_line_and_without_the_password(text: str, said: str) -> None:
    with pytest.raises(settings.ConfigurationError) as refused:
        settings.parse(f"# facts\n{text}\n".encode(), file="heardback.yaml")
    assert said in str(refused.value)
    assert "marked" not in str(refused.value)


def test_an_embedded_broker_that_is_named_keeps_facts_beside_its_log(tmp_path: Path) -> None:
    assert data_of(f"sqlite:///{tmp_path}/log.sqlite3", Path("elsewhere")) == tmp_path
    assert data_of("kafka://host:9092", Path("elsewhere")) == Path("elsewhere")
    assert data_of(None, Path("elsewhere")) == Path("elsewhere")


def test_a_format_is_what_was_asked_for_else_what_the_file_is_named_after_else_html() -> None:
    assert format_of(None, None) == "html"
    assert format_of(None, Path("w.MD")) == "md"
    assert format_of("csv", Path("w.md")) == "csv"
    assert format_of(None, Path("week.2026")) == "html"


async def test_a_store_without_tables_yet_has_no_reports_and_one_of_another_version_cannot_be_read(url: str) -> None:
    store = Store(url)
    reports = Reports(store, ReportSpec())
    assert await reports.document("2026-W46", "html") is None
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE other (id INTEGER)")
    assert store.exists
    assert await reports.document("2026-W46", "html") is None, "its writer makes the tables in a moment"
    await store.prepare()
    assert await reports.document("2026-W46", "html") is None
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE facts SET schema_version = 7")
    with pytest.raises(ReportsAway):
        await reports.document("2026-W46", "html")
    for week, to in (("2026-W99", "html"), ("2026-W46", "pdf")):
        with pytest.raises(ValueError, match="wanted one"):
            await reports.document(week, to)
    await store.close()
