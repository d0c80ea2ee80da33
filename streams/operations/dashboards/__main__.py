"""See the package."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from streams.operations.dashboards.model_owner import model_owner
from streams.operations.dashboards.operators import operators

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"


def dashboards() -> dict[str, dict[str, Any]]:
    """Return each file's name and dashboard."""
    made = {"operators.json": operators(), "model-owner.json": model_owner()}
    return {
        name: json.loads(json.dumps(page.build(), cls=JSONEncoder)) for name, page in made.items()
    }


def main() -> None:
    """Write the dashboards, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a file is out of date")
    check = parser.parse_args().check
    for name, page in dashboards().items():
        path, text = FOLDER / name, json.dumps(page, indent=2, sort_keys=True) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        if check:
            sys.exit(
                f"{name} is out of date: run `python -m streams.operations.dashboards` and commit."
            )
        path.write_text(text)
        print(f"wrote {name}")  # noqa: T201 - a command line tool


if __name__ == "__main__":
    main()
