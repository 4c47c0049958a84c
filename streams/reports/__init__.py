"""The weekly responsiveness report: from facts to a report, and from a report to a page.

    week = Week.parse("2026-W46", time_zone="Europe/London")     # raises NotAWeek
    report = weekly(facts, week)                                 # a WeekReport: every number with its n
    render(report, "html")                                       # bytes; also md, json, csv

Pure: the same facts give the same bytes. What time it is does not matter, only until when the facts are known.
Where facts come from belongs to `streams.facts` and the commands.
"""

from streams.reports.known import Facts
from streams.reports.render import CONTENT_TYPES, FORMATS, LATER_FORMATS, page, render
from streams.reports.week import NotAWeek, Week
from streams.reports.weekly import WeekReport, weekly

__all__ = [
    "CONTENT_TYPES",
    "FORMATS",
    "LATER_FORMATS",
    "Facts",
    "NotAWeek",
    "Week",
    "WeekReport",
    "page",
    "render",
    "weekly",
]
