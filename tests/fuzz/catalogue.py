"""Names of all targets, and the module of each; a module is imported once its target is asked for."""

import importlib
from typing import Final

from tests.fuzz.harness import TARGETS, Target

MODULES: Final = {
    "values": ("codec", "json", "text", "settings"),
    "photos": ("photo",),
    "addresses": ("reference of a photo", "storage", "registry"),
    "webhooks": ("receiver",),
    "letters": ("headers", "letters"),
    "reference": ("reference", "replays"),
    "stages": ("declaration", "outcome"),
    "messages": ("message in JSON", "message in XML"),
    "store": ("redis", "readers"),
    "console": ("console", "identity"),
    "audit": ("audit", "anchors"),
    "scorer": ("scorer",),
}
WITH_BUNDLE: Final = MODULES["scorer"]
"""Targets that need a model bundle."""
NAMES: Final = tuple(name for names in MODULES.values() for name in names)


def load(name: str) -> Target:
    """Return a target by its name."""
    module = next(module for module, names in MODULES.items() if name in names)
    importlib.import_module(f"tests.fuzz.targets.{module}")
    return TARGETS[name]
