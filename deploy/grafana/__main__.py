"""`python -m deploy.grafana`: writes the dashboards beside this file."""

from __future__ import annotations

from deploy.grafana.written import FOLDER, written


def main() -> None:
    """Writes every file that is not current."""
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


main()
