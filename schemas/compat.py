"""history/*/*.avsc and avro/*.avsc → does every version read, and is read by, every other?

`python -m schemas.compat` checks all; `--release` keeps today's schemas as the next version where
they differ from the last, once the check holds. The registry enforces the same (FULL_TRANSITIVE);
here it is known before anything is deployed.
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Schema, parse

HERE = Path(__file__).parent


def versions(stem: str) -> dict[str, Schema]:
    """Return every released version of an event's schema and today's, by name."""
    released = sorted((HERE / "history" / stem).glob("*.avsc"), key=lambda path: int(path.stem))
    by_name = {f"version {path.stem}": parse(path.read_text()) for path in released}
    return by_name | {"today": parse((HERE / "avro" / f"{stem}.avsc").read_text())}


def breaks(versions: dict[str, Schema]) -> list[str]:
    """Return a sentence for each pair of versions of which one cannot read the other."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call] # avro's is
    problems = []
    for (reader, reads), (writer, wrote) in itertools.permutations(versions.items(), 2):
        result: Any = checker.get_compatibility(reads, wrote)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            why = "; ".join(sorted(map(str, result.messages)))
            problems.append(f"{reader} cannot read what {writer} wrote: {why}")
    return problems


def release(stem: str) -> Path | None:
    """Keep today's schema as the next version; None where the last version is the same."""
    folder = HERE / "history" / stem
    folder.mkdir(parents=True, exist_ok=True)
    today = (HERE / "avro" / f"{stem}.avsc").read_text()
    numbers = sorted(int(path.stem) for path in folder.glob("*.avsc"))
    if numbers and (folder / f"{numbers[-1]}.avsc").read_text() == today:
        return None
    path = folder / f"{numbers[-1] + 1 if numbers else 1}.avsc"
    path.write_text(today)
    return path


def main() -> None:
    """Check every event, and release where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", action="store_true", help="keep today's as the next version")
    releasing = parser.parse_args().release
    stems = sorted(path.stem for path in (HERE / "avro").glob("*.avsc"))
    broken = [f"{stem}: {problem}" for stem in stems for problem in breaks(versions(stem))]
    if broken:
        sys.exit("\n".join(broken))
    for stem in stems if releasing else ():
        if path := release(stem):
            print(f"released {path.relative_to(HERE)}")  # noqa: T201 - a command line tool


if __name__ == "__main__":
    main()
