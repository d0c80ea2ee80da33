"""The packaged model: any declaration, any signals, any reference data."""

import json
from dataclasses import asdict, replace
from functools import cache

from models.explanation.explainer import Explainer
from models.risk.signals import ItemSignals, LiveSignals, Peers, PhotoUse, Rate
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from models.training.bundle_builder import default_bundle
from schemas.records import Declaration
from streams.evidence.signals import read_signals
from tests.fakes import NOW
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import run, target
from tests.fuzz.targets import reference, stages
from tests.fuzz.targets.store import figures

PEERS = Peers(9, 1.0, 0.5)
SIGNALS = ItemSignals(price=PEERS, photo=PhotoUse(3, 4, 2, PEERS, "D"), rates={"all": Rate(90, 9), "code": Rate(9, 3)})  # fmt: skip


@cache
def scorer() -> Scorer:
    """The packaged bundle's."""
    return Scorer.load(default_bundle())


@cache
def explainer() -> Explainer:
    """Explains its verdicts."""
    return Explainer(scorer(), default_bundle(), threads=1)


@target("scorer", "scored", "green", "yellow", "red", "explained", weight=0.5)
def verdicts(choices: Choices) -> list[str]:
    """A verdict on what was declared, and through the stages."""
    declared = stages.declaration(choices)
    declared = replace(
        declared, goods_items=tuple(replace(item, images=()) for item in declared.goods_items[:3])
    )
    snapshot = reference.state(choices)[0].snapshot()
    evidence = DeclarationEvidence(
        declared,
        tuple(_evidence(choices, item) for item in declared.goods_items),
        signals(choices, declared),
        snapshot.tariff,
        choices.pick((None, NOW, mutations.moment(choices))),
    )
    (verdict,) = scorer().score([evidence])
    assert 0 <= verdict.risk <= 1
    assert [item.sequence_number for item in verdict.items] == [
        item.sequence_number for item in declared.goods_items
    ]
    staged = stages.Stages(scorer(), explainer(), snapshot)
    ends, _ = run(staged.through([stages.event(choices, declared, 0)]))
    return ["scored", *ends]


def _evidence(choices: Choices, item) -> ItemEvidence:
    text, title = scorer().embed_texts([item.description[:600], item.product_title[:600]])
    return ItemEvidence(
        item, text if not choices.one_in(4) else None, (), title if choices.one_in(3) else None
    )


def signals(choices: Choices, declared: Declaration) -> LiveSignals | None:
    """Signals as they may stand in Redis, as far as they can be read."""
    plain = LiveSignals((SIGNALS,) * len(declared.goods_items), 5, 2, 3, 120.0, 1, NOW.timestamp())
    content = json.dumps(figures(choices, json.loads(json.dumps(asdict(plain)))))
    try:
        return read_signals(content, items=len(declared.goods_items))
    except ValueError:
        return plain if choices.one_in(2) else None
