"""Reading the configuration: every mistake at once, each with its line; nothing written there ends the process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import Configuration
from streams import yaml_text
from streams.settings import CONFIGURATION_BYTES_MAX, ConfigurationError, Fault, load, parse, policies_of

EXAMPLE = Path(__file__).parents[2] / "deploy/examples/heardback.yaml"
GOOD = """\
calendars:
  london: {time_zone: Europe/London, hours: {mon-fri: ["09:00-17:30"]}}
  always: {always_open: true}
policies:
  - name: gold
    calendar: london
    targets: {first_response: 1h}
alerts:
  receivers:
    - {type: alertmanager, urls: ["http://127.0.0.1:9093"]}
  routes:
    - {receivers: [alertmanager]}
limits: {late_after: 20d}
"""


def read(text: str | bytes, environment: Mapping[str, str] | None = None) -> Configuration:
    content = text.encode() if isinstance(text, str) else text
    return parse(content, file="h.yaml", environment=environment)


def faults(text: str | bytes, environment: Mapping[str, str] | None = None) -> list[Fault]:
    with pytest.raises(ConfigurationError) as invalid:
        read(text, environment)
    return invalid.value.faults


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_what_is_right_is_read() -> None:
    assert read(GOOD).policies[0].name == "gold"
    assert [policy.name for policy in policies_of(read(GOOD)).policies] == ["gold"]


def test_a_date_that_does_not_exist_has_its_line_and_hides_no_other_fault() -> None:
    text = """\
calendars:
  shut: {time_zone: Europe/London, hours: {mon: ["09:00-17:00"]}, closed: [2026-13-01]}
policies:
  - {name: p, calendar: nowhere, targets: {first_response: 1h}, effective_from: 2026-02-30}
alerts: {from: 2026-99-01T00:00:00Z}
"""
    assert list(map(str, faults(text))) == [
        "h.yaml:2: calendars.shut.closed.0: found '2026-13-01', wanted a date such as 2026-12-24",
        "h.yaml:4: policies.0.calendar: found 'nowhere', wanted one of the calendars (shut)",
        "h.yaml:4: policies.0.effective_from: found '2026-02-30', wanted a date such as 2026-12-24",
        "h.yaml:5: alerts.from: found '2026-99-01T00:00:00Z', wanted first_start or an instant such as "
        "2026-11-21T10:00:00Z",
    ]


@pytest.mark.parametrize(
    ("holidays", "where", "what"),
    [
        ("{country: XX}", "", "found XX/-: Country XX not available"),
        ("{country: GB, subdivision: XXX}", "", "found GB/XXX: Entity `GB` does not have subdivision XXX"),
        ("{country: GB, subdivison: ENG}", ".subdivison", "found an unknown key; look for a spelling mistake"),
        ("[nonsense]", ".0", "found 'nonsense', wanted a date such as 2026-12-24"),
        ("GB", "", "found neither of them, wanted a list of dates or a country such as {country: GB}"),
    ],
)
def test_a_mistake_in_holidays_is_one_fault_whichever_form_they_have(holidays: str, where: str, what: str) -> None:
    (fault,) = faults(f"calendars: {{desk: {{hours: {{mon: ['09:00-17:00']}}, holidays: {holidays}}}}}")
    assert (fault.where, fault.what) == (f"calendars.desk.holidays{where}", what)


@pytest.mark.parametrize("instant", ["yesterday", "17", "[]"])
def test_an_instant_that_is_none_is_one_fault(instant: str) -> None:
    for where, text in (
        ("alerts.from", changed("  receivers:", f"  from: {instant}\n  receivers:")),
        ("policies.0.effective_from", changed("    calendar:", f"    effective_from: {instant}\n    calendar:")),
    ):
        (fault,) = faults(text)
        assert fault.where == where
        assert "instant" in fault.what
        assert fault.what.startswith("found ")


def test_every_weekday_that_is_none_is_said() -> None:
    text = "calendars: {desk: {hours: {mo: [], tue: [], wensday: [], mon-wed: []}}}\nreport: {send_at: monday 7}"
    hours, moment = faults(text)
    assert (hours.where, moment.where) == ("calendars.desk.hours", "report.send_at")
    assert [said in hours.what for said in ("found 'mo'", "found 'wensday'", "found tue twice")] == [True] * 3
    assert moment.what == "found 'monday 7', wanted a weekday and a time such as mon 07:00"


def test_closures_over_all_hours_and_what_a_receiver_lacks_are_said_together_with_all_else() -> None:
    text = changed("late_after: 20d", "late_after: soon").replace(
        "mon-fri: [", 'mon: ["09:00-10:00"]}, closed: ["1990-01-01..2200-12-31"]}\n  other: {hours: {mon-fri: ['
    )

    def lacking(loaded: Configuration) -> list[tuple[tuple[str | int, ...], str]]:
        names = [receiver.name for receiver in loaded.alerts.receivers]
        return [(("alerts", "receivers", 0), f"lacks of {names}"), (("alerts", "routes", 0), "may be wrong")]

    with pytest.raises(ConfigurationError) as invalid:
        parse(text.encode(), file="h.yaml", faults_of=lacking)
    assert [fault.where for fault in invalid.value.faults] == [
        "calendars.london",
        "alerts.receivers.0",
        "limits.late_after",
    ]


def test_three_hundred_mistakes_are_three_hundred_faults_each_with_its_line() -> None:
    head = "calendars: {always: {always_open: true}}\npolicies:\n"
    wrong = ["{first_response: soon}", "{first_response: 0m}", "{delight: 1h}"]
    policies = [
        f"  - name: p{n}\n    calendar: always\n    targets: {wrong[n % 3]}\n" for n in range(300)
    ]  # fmt: skip
    found = faults(head + "".join(policies))
    assert [fault.line for fault in found] == [5 + 3 * n for n in range(300)]
    assert all(fault.where.startswith(f"policies.{n}.targets") for n, fault in enumerate(found))


def test_mistakes_of_every_kind_are_said_together_in_the_order_of_the_lines() -> None:
    text = """\
calendars:
  london: {time_zone: Europe/Lodnon, hours: {mon-fri: ["9-17"]}}
  never: {hours: {}}
policies:
  - name: gold
    calendar: lodnon
    targets: {first_response: 1d}
    at_risk: [80%, 50%]
  - name: silver
    calendar: never
    targets: {resolution: 1d}
    chasing_after: 0
alerts:
  from: 2026-01-01
  receivers: [{type: webhook, urls: [ftp://x]}]
  routes: [{receivers: [pager]}]
  escalations:
    - {after: 1h, receivers: [phone]}
limits: {contact_bytes: 1}
typo: 1
"""
    found = [(fault.line, fault.where) for fault in faults(text)]
    assert found == [
        (2, "calendars.london.hours.0"),
        (2, "calendars.london.time_zone"),
        (3, "calendars.never"),
        (6, "policies.0.calendar"),
        (8, "policies.0.at_risk"),
        (11, "policies.1.targets.resolution"),
        (12, "policies.1.chasing_after"),
        (14, "alerts.from"),
        (15, "alerts.receivers.0.urls"),
        (16, "alerts.routes.0.receivers.0"),
        (18, "alerts.escalations.0.receivers.0"),
        (19, "limits.contact_bytes"),
        (20, "typo"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("first_response: 1h", "first_response: 1d", 7, "which is not always open; write working days (1wd"),
        ("first_response: 1h", "first_response: 90", 7, "found 90, wanted a duration such as 15m"),
        ("first_response: 1h", "first_response: 9999h", 7, "wanted at most 366 days"),
        ('mon-fri: ["09:00-17:30"]', "mon-fri: []", 2, "it would never open"),
        ('mon-fri: ["09:00-17:30"]', 'mon-fri: ["17:30-17:30"]', 2, "which is empty"),
        ('mon-fri: ["09:00-17:30"]', 'mon-fir: ["09:00-17:30"]', 2, "wanted weekdays such as mon, mon-fri"),
        ("always_open: true", 'always_open: true, hours: {mon: ["09:00-10:00"]}', 3, "wanted one or the other"),
        ("receivers: [alertmanager]", "receivers: [pager]", 12, "found 'pager', wanted one of the receivers"),
        ("receivers: [alertmanager]", "receivers: []", 12, "at least 1 item"),
        ("    calendar: london", "    calendar: paris", 6, "wanted one of the calendars (london, always)"),
        ("    calendar: london", "    calendar: london\n    calender: london", 7, "found an unknown key"),
        ("late_after: 20d", "late_after: [20d]", 13, "wanted a duration"),
        ("  - name: gold\n", "  - name: gold\n    name: silver\n", 6, "found 'name' twice"),
        ("limits:", "limits: {}\nlimits:", 14, "found 'limits' twice"),
        ("limits: {late_after: 20d}", "limits: {late_after: 20d", 14, "is not valid YAML"),
        ("limits: {late_after: 20d}", "limits: !!python/object/apply:os.getcwd []", 13, "is not valid YAML"),
        ("limits: {late_after: 20d}", "limits:\n\t late_after: 20d", 14, "is not valid YAML"),
        ("limits: {late_after: 20d}", "---\nlimits: {}", 13, "is not valid YAML"),
        ("limits: {late_after: 20d}", "limits: 7", 13, "valid dictionary"),
        ("gold", "gold\n    calendar: always\n    targets: {first_response: 1h}\n  - name: gold", 8, "'gold' twice"),
    ],
)
def test_a_mistake_is_said_with_its_line_and_what_was_wanted(old: str, new: str, line: int, what: str) -> None:
    found = faults(changed(old, new))
    assert [fault.line for fault in found] == [line], found
    assert what in found[0].what


@pytest.mark.parametrize(
    ("old", "right", "wrong", "what"),
    [
        ("09:00-17:30", ["00:00-24:00", "22:00-06:00"], ["24:00-06:00", "00:00-24:01"], "00:00 to 24:00"),
        ("09:00-17:30", ["09:59-17:30", "09:00-17:59"], ["09:60-17:30", "09:00-17:60"], "00:00 to 24:00"),
        ("1h", ["8784h", "1s", "0h1m"], ["8784h1s", "367d"], "at most 366 days"),
        ("1h", ["1wd", "260wd"], ["0wd", "261wd"], "wanted 1wd to 260wd"),
        ("1h}", ["1h}\n    at_risk: [1%, 99%]", "1h}\n    at_risk: [0.5]"],
         ["1h}\n    at_risk: [0%]", "1h}\n    at_risk: [100%]", "1h}\n    at_risk: [1.0]"], "above 0% and below 100%"),
        ("1h}", ["1h}\n    chasing_after: 1"], ["1h}\n    chasing_after: 0"], "greater than or equal to 1"),
        ("]}}", ["]}, closed: [2026-12-24..2026-12-24]}"],
         ["]}, closed: [2026-12-24..2026-12-23]}"], "ends before it starts"),
        ("mon-fri", ["fri-mon", "sun", '"mon,wed"', "mon-sun"], ["mon-", "-fri", '"mon,,wed"'], "wanted weekdays"),
        ("]}}", ["]}, closed: [2026-12-24]}"],
         ["]}, closed: [2026-12-24..]}", "]}, closed: [..2026-12-24]}"], "wanted a date"),
        ("  receivers:", ['  from: "2026-11-21T10:00:00+01:00"\n  receivers:'],
         ["  from: 2026-11-21T10:00:00\n  receivers:"], "an instant with a zone"),
        ("    calendar: london", ["    calendar: london\n    effective_from: 2026-11-21T10:00:00Z"],
         ["    calendar: london\n    effective_from: 2026-11-21T10:00:00"], "zone"),
    ],
)  # fmt: skip
def test_what_is_just_right_is_read_and_what_is_just_wrong_is_said(
    old: str, right: list[str], wrong: list[str], what: str
) -> None:
    for new in right:
        assert read(changed(old, new))
    for new in wrong:
        assert what in faults(changed(old, new))[0].what


def test_no_secret_and_no_address_that_may_carry_one_is_shown() -> None:
    text = """alerts:
  receivers:
    - {type: webhook, urls: ["https://open-sesame.example"], secret: open-sesame}
    - {type: email, host: mail.example, to: [c@d.example], user: open-sesame, secret: open-sesame}
  pagerduty_webhook: {secret: open-sesame}
facts: {url: "postgresql://open-sesame@db.example/heardback"}
"""
    assert "open-sesame" not in repr(read(text))


def test_a_calendar_that_never_opens_in_the_end_is_refused() -> None:
    closed = changed('["09:00-17:30"]}}', '["09:00-17:30"]}, closed: ["1990-01-01..2210-12-31"]}')
    assert [(fault.line, fault.where) for fault in faults(closed)] == [(2, "calendars.london")]
    assert "it would never open" in faults(closed)[0].what
    later = changed('["09:00-17:30"]}}', '["09:00-17:30"]}, closed: ["1990-01-01..2031-12-31"]}')
    assert read(later)


def test_whole_days_are_allowed_on_a_calendar_that_is_always_open() -> None:
    text = changed("calendar: london", "calendar: always").replace("1h", "1d")
    assert read(text).policies[0].targets["first_response"].seconds == 86_400


def test_a_section_with_nothing_in_it_is_one_that_is_not_there() -> None:
    assert read("calendars:\npolicies:\nalerts:\n# receivers: []\n") == Configuration()
    assert read("") == read("# nothing\n") == read("facts: {url: }\n") == Configuration()


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "7\n"])
def test_what_is_no_mapping_is_said(text: str) -> None:
    assert faults(text)[0].what.startswith("found no mapping")


# -- how the file is written


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake() -> None:
    assert read(b"\xef\xbb\xbf" + GOOD.encode()) == read(GOOD)
    assert read(GOOD.replace("\n", "\r\n")) == read(GOOD)
    assert [fault.line for fault in faults(changed("20d", "soon").replace("\n", "\r\n"))] == [13]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_another_encoding_is_refused(encoding: str) -> None:
    found = faults(GOOD.replace("gold", "gülden").encode(encoding))
    assert len(found) == 1
    assert "is not" in found[0].what
    if encoding == "latin-1":
        assert (found[0].line, found[0].what.split(" (")[0]) == (5, "is not UTF-8")


def test_a_file_beyond_the_bound_is_refused_unread() -> None:
    [fault] = faults(b"#" * (CONFIGURATION_BYTES_MAX + 1))
    assert "wanted at most" in fault.what


@pytest.mark.parametrize("depth", [200, 300_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_deep_nesting_is_refused_and_ends_nothing(opening: str, closing: str, depth: int) -> None:
    newline = "\n" if closing == "" else ""
    [fault] = faults(f"limits: {newline}" + opening * depth + "x" + closing * depth)
    assert "deeper than 100" in fault.what


def test_aliases_of_aliases_are_bounded() -> None:
    laughs = ['a0: &a0 ["ha", "ha"]']
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join([*laughs, "policies: [{name: *a11, calendar: *a11, targets: {first_response: *a11}}]"])
    since = time.perf_counter()
    [fault] = faults(text)
    assert "stand for more than" in fault.what
    assert 1 < fault.line < 12
    assert time.perf_counter() - since < 5


def test_so_are_aliases_of_one_long_text() -> None:
    text = f"a: &a {'x' * 1_000_000}\npolicies: [{', '.join(['*a'] * 10_000)}]\n"
    assert "stand for more than" in faults(text)[0].what


def test_an_alias_inside_of_what_it_names_is_refused() -> None:
    assert "inside of what it names" in faults("policies: &a [*a]")[0].what


def test_ordinary_aliases_work() -> None:
    text = changed("targets: {first", "targets: &t {first")
    text = text.replace("alerts:", "  - {name: silver, calendar: always, targets: *t}\nalerts:")
    assert read(text).policies[1].targets == read(text).policies[0].targets


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_whatever_is_written_there_is_a_configuration_or_a_fault(text: str) -> None:
    for content in (text, f"limits: {text}", f"policies: [{text}]"):
        try:
            read(content)
        except ConfigurationError as invalid:
            assert invalid.faults  # noqa: PT017 - either is right


def test_the_bounds_do_not_stand_in_the_way_of_the_shipped_example() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert yaml_text.load(text) == yaml.safe_load(text)
    assert load(EXAMPLE, {}).policies


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml")


# -- the environment


def test_a_variable_overrides_the_file() -> None:
    found = read(GOOD, {"HEARDBACK_LIMITS__LATE_AFTER": "10d", "HEARDBACK_ALERTS__BOARD_URL": "https://b.example"})
    assert (str(found.limits.late_after), found.alerts.board_url) == ("240h", "https://b.example")


def test_a_variable_makes_a_section_that_the_file_lacks_or_leaves_empty() -> None:
    for text in ("", "report:\n"):
        assert read(text, {"HEARDBACK_REPORT__TIME_ZONE": "Europe/London"}).report.time_zone == "Europe/London"


def test_a_variable_reaches_into_a_list_by_number() -> None:
    assert read(GOOD, {"HEARDBACK_POLICIES__0__TARGETS__RESOLUTION": "8h"}).policies[0].targets["resolution"]


def test_variables_of_others_empty_ones_and_those_of_commands_are_left_alone() -> None:
    environment = {
        "PATH": "/bin", "HEARDBACK_BROKER": "kafka://x", "HEARDBACK_CONFIG": "x", "HEARDBACK_LIMITS__LATE_AFTER": "",
    }  # fmt: skip
    assert read(GOOD, environment) == read(GOOD)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("HEARDBACK_LIMITS__LATE_AFTER", "soon", "found 'soon', wanted a duration"),
        ("HEARDBACK_LIMITS__LATE_AFTR", "1d", "found an unknown key"),
        ("HEARDBACK_LIMIT__LATE_AFTER", "1d", "found no section 'limit', wanted one of HEARDBACK_CALENDARS__…"),
        ("HEARDBACK_LIMITS__LATE_AFTER", "[1d", "is not valid YAML"),
        ("HEARDBACK_LIMITS__LATE_AFTER", "[" * 100_000, "is not valid YAML"),
        ("HEARDBACK_LIMITS__LATE_AFTER__SECONDS", "1", "found no place for it"),
        ("HEARDBACK_POLICIES__7__NAME", "x", "found no place for it"),
        ("HEARDBACK_POLICIES__FIRST__NAME", "x", "found no place for it"),
    ],
)
def test_a_mistake_in_a_variable_is_said_with_its_name(name: str, value: str, what: str) -> None:
    [fault] = faults(GOOD, {name: value})
    assert (fault.file, fault.line) == (name, 0)
    assert what in fault.what


def test_mistakes_of_the_file_and_of_the_environment_are_said_together() -> None:
    found = faults(changed("1h", "soon"), {"HEARDBACK_LIMITS__LATE_AFTER": "later"})
    assert {fault.file for fault in found} == {"h.yaml", "HEARDBACK_LIMITS__LATE_AFTER"}


def test_a_fault_of_a_setting_is_not_blamed_on_the_variable_of_another_with_a_longer_name() -> None:
    found = faults(
        changed("{late_after: 20d}", "{late_after: 20d, contact_bytes: 1}"), {"HEARDBACK_LIMITS__CONTACT": "1"}
    )
    assert ("h.yaml", 13, "limits.contact_bytes") in [(fault.file, fault.line, fault.where) for fault in found]
