"""`python -m tests.conformance FILE`: each failing case's id with expected and got, then `N passed, M failed`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.conformance.cases import run_file


def main(arguments: list[str]) -> int:
    """0 when every case passed, 1 when one failed, 2 when there is no file to run."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: python -m tests.conformance FILE", file=sys.stderr)
        return 2
    results = run_file(json.loads(Path(arguments[0]).read_text(encoding="utf-8-sig")))
    failed = [result for result in results if not result.passed]
    for result in failed:
        print(f"{result.case_id}: expected {json.dumps(result.expected)}, got {json.dumps(result.got)}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
