"""The dashboards as the files that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.channels import channels
from deploy.grafana.itself import itself
from deploy.grafana.now import now
from deploy.grafana.promises import promises

FOLDER: Final = Path(__file__).parent / "dashboards"


def written() -> dict[str, str]:
    """By file name, the JSON of each dashboard; the same code gives the same bytes."""
    found = {"now": now(), "promises": promises(), "channels": channels(), "itself": itself()}
    return {
        f"{name}.json": json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, dashboard in found.items()
    }
