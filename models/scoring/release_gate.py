"""May a bundle be released? Only if its explanations were measured, and are faithful.

`redlane evaluate explain` records its figures beside the artifacts that it measured; a bundle built
of these artifacts contains the record. If the artifacts changed since, or the record is missing or
fails, the bundle is built without it, and no worker accepts it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

RECORD: Final = "faithfulness.json"

MARGIN: Final = 0.1
"""Least share by which the mean risk must be below that of random orders on deletion, and above it
on insertion."""
PLANTED_WORD: Final = 0.90
PLANTED_OBJECT: Final = 0.80
SANITY: Final = ("parameter_randomisation", "label_randomisation")
SHUFFLED: Final = 0.30
"""Most mean rank correlation with the explanations of a shuffled model."""
JUDGED: Final = "test"
"""The split of goods whose figures count: nothing was chosen on it."""


def gate(figures: Mapping[str, Any]) -> list[str]:
    """Return the conditions of a release that these figures fail.

    Args:
        figures: as `models.evaluation.explanations` returns them.

    Raises:
        KeyError, TypeError: they are not complete.
    """
    failed = []
    for name in ("text", "image", "attributes"):
        areas = figures[name]
        for curve, sign in (("deletion_auc", 1), ("insertion_auc", -1)):
            margin = sign * (1 - areas[curve] / areas[f"{curve}_random"])
            if not margin >= MARGIN:
                failed.append(
                    f"{name}: {curve} is better than random by {margin:.1%}, not {MARGIN:.0%}"
                )
    for name, least in (("planted_word", PLANTED_WORD), ("planted_object", PLANTED_OBJECT)):
        if not figures[name] >= least:
            failed.append(f"{name} {figures[name]:.3f} is below {least}")
    correlations = {name: figures["sanity"][name] for name in SANITY}
    failed += [
        f"{name}: rank correlation {correlation:.3f} is above {SHUFFLED}"
        for name, correlation in correlations.items()
        if not correlation <= SHUFFLED
    ]
    if figures["stable"] is not True:
        failed.append("the same input was explained in two ways")
    return failed


def record(artifacts: Path, figures: Mapping[str, Any]) -> None:
    """Write the figures beside the artifacts that they were measured on, good or bad.

    Args:
        artifacts: what was learned.
        figures: of the split JUDGED.
    """
    content = {"artifacts": _digest(artifacts), "figures": figures}
    (artifacts / RECORD).write_text(json.dumps(content, indent=2) + "\n")


def bundle_problems(bundle: Path) -> list[str]:
    """Return why a built bundle may not be used; nothing if it may.

    Today's conditions count: it may have been built under others.
    """
    if not (bundle / RECORD).is_file():
        return ["its explanations were not measured, or are not faithful"]
    try:
        return gate(json.loads((bundle / RECORD).read_text())["figures"])
    except (ValueError, KeyError, TypeError) as error:
        return [f"its {RECORD} is not complete: {error!r}"]


def problems(artifacts: Path) -> list[str]:
    """Return why a bundle of these artifacts may not be released; nothing if it may."""
    if not (artifacts / RECORD).is_file():
        return ["its explanations were not measured"]
    recorded = json.loads((artifacts / RECORD).read_text())
    if recorded["artifacts"] != _digest(artifacts):
        return ["its explanations were measured on other artifacts"]
    return gate(recorded["figures"])


def _digest(artifacts: Path) -> str:
    """Return the hash of all artifacts but the record."""
    digest = hashlib.sha256()
    for path in sorted(artifacts.iterdir()):
        if path.is_file() and path.name != RECORD:
            digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
