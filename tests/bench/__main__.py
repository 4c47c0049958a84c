"""`python -m tests.bench [--quick] [NAME...]`: one JSON object a line, with what it ran on.

A part is a module with `run(quick) -> Iterator[dict]` that yields name, value (None beside an `error` where the work
was not done rightly), unit and, where there is one, baseline and ratio. Here stands which part measures what;
measuring does not belong here.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "tests.bench.calendar": ("calendar_due_us", "calendar_elapsed_us"),
    "tests.bench.kafka_throughput": ("kafka_events_per_cpu_second",),
    "tests.bench.throughput": ("sqlite_events_per_cpu_second", "scaling_10x"),
    "tests.bench.replaying": ("replay_events_per_cpu_second",),
    "tests.bench.auditing": ("audit_cpu_seconds", "audit_peak_bytes"),
    "tests.bench.recovery": ("recovery_seconds",),
    "tests.bench.delivery": ("due_to_delivered_p99_seconds",),
    "tests.bench.memory": ("bytes_per_open_contact",),
    "tests.bench.board": (
        "board_catch_up_records_per_cpu_second",
        "board_standing_ms",
        "board_page_ms",
        "board_page_again_ms",
        "board_browser_load_ms",
        "board_browser_apply_ms",
        "board_told_to_seen_ms",
    ),
}
"""By module: the names that it measures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every part asked for ran and its answers held, 1 when one did not, 2 for an unknown name."""
    known = sorted(name for names in PARTS.values() for name in names)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small workloads: figures are rough")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(known)}")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"unknown {', '.join(unknown)}; known are {', '.join(known)}")
    wanted = set(options.names or known)
    ran = [_run(module, wanted, quick=options.quick) for module, names in PARTS.items() if wanted & set(names)]
    return 0 if all(ran) else 1


def _run(module: str, wanted: set[str], *, quick: bool) -> bool:
    try:
        for figure in importlib.import_module(module).run(quick):
            if figure["name"] in wanted:
                print(json.dumps({**figure, "quick": quick, "ran_on": ran_on()}), flush=True)
    except Exception:  # noqa: BLE001 - a part that fails must not hide the others
        traceback.print_exc(file=sys.stderr)
        return False
    return True


def ran_on() -> dict[str, Any]:
    """The machine and the interpreter, as far as they explain a figure."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


if __name__ == "__main__":
    sys.exit(main())
