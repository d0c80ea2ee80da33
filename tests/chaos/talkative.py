"""Bugs whose text holds whatever they meet, in every step of every worker.

A test passes `injected(talk)` to `start_worker(bug=…)`. A bug shows up where one of `MARKS` is in
what a step is given.
"""

from redis.exceptions import RedisError

from models.explanation.explainer import Explainer
from models.scoring.scorer import Scorer
from streams.evidence.gatherer import Gatherer
from streams.evidence.past_inspections import PastInspections
from streams.evidence.signals import Signals
from streams.kafka import worker
from streams.selection.lanes import Lanes

MARKS = {
    "gather": (Gatherer, "gather"),
    "score": (Scorer, "score"),
    "decide": (Lanes, "decide"),
    "redis": (Signals, "_look_up"),
    "explain": (Explainer, "explain"),
    "learn": (PastInspections, "record"),
    "publish": (worker, "published"),
}
"""Names of bugs → where they are. The first three and `explain` fail one event, `redis` is a store
that fails, `learn` fails an outcome, and `publish` stops the worker."""


def mark(name):
    """Return the word that brings a bug about."""
    return f"mark{name}"


def talk():
    """Inject all of them."""
    for name, (owner, function) in MARKS.items():
        setattr(owner, function, _talkative(getattr(owner, function), name))


def _talkative(act, name):
    def acting(*arguments, **options):
        met = repr(arguments)
        if mark(name) not in met:
            return act(*arguments, **options)
        kind = RedisError if name == "redis" else ValueError
        raise kind(f"what it met: {met}") from KeyError(met)

    return acting
