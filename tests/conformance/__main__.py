"""`python -m tests.conformance FILE`: each failing case's id with expected and got, then `N passed, M failed`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conformance.cases import run_file


def main(arguments: list[str]) -> int:
    """0 when every case passed, 1 when one failed, 2 when there is no file to run or it is not of cases."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: python -m tests.conformance FILE", file=sys.stderr)
        return 2
    try:
        content = cases_in(Path(arguments[0]))
    except (OSError, ValueError) as fault:
        print(f"{arguments[0]}: {fault}", file=sys.stderr)
        return 2
    results = run_file(content)
    failed = [result for result in results if not result.passed]
    for result in failed:
        print(f"{result.case_id}: expected {json.dumps(result.expected)}, got {json.dumps(result.got)}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


def cases_in(path: Path) -> Mapping[str, Any]:
    """The calendars by name and the list of cases that a file holds. Raises OSError, and ValueError with what was
    found and what was wanted."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"wanted JSON: {fault}") from None
    if not isinstance(content, dict):
        raise ValueError(f"found {type(content).__name__}, wanted an object with calendars and cases")
    for key, shape in (("calendars", dict), ("cases", list)):
        if not isinstance(content.get(key), shape):
            raise ValueError(
                f"found {key} {str(content.get(key))[:40]}, wanted {'an object' if shape is dict else 'a list'}"
            )
    for number, case in enumerate(content["cases"], start=1):
        if not isinstance(case, dict):
            raise ValueError(f"found case {number} {str(case)[:40]}, wanted an object")
    return content


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
