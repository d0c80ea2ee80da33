"""Labelled declarations and goods → how much each kind of evidence adds.

No public data set has attributes, texts and photos of the same consignments, so this module PAIRS
THEM: a real row of the declarations data whose code occurs in the goods data gets text and photo of
some goods of that code. Row and goods are real; that they belong together is not. Some regular
rows, chosen by a seed, then become irregular: declared under a code of lower duty, with a photo
that another declaration used, at a fraction of the value, or split into parts below the de minimis
value. The rows' own frauds are thinned, because 21 in 100 of the data are fraud and inspecting a
tenth of the stream could not find them all; `as_labelled` keeps them.

The bundle scores everything as it serves; nothing is fitted here. Past inspections are those of the
training period, and goods are from the split test.
"""

import asyncio
import contextlib
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from redis.asyncio import Redis

from models.datasets.declarations import BadDeclarations, Labelled, read
from models.datasets.goods import Goods
from models.datasets.goods import read as read_goods
from models.datasets.history import History, replay
from models.encoding import image
from models.encoding.perceptual_hash import perceptual_hash
from models.evaluation.calibration import calibration_error
from models.progress import Say
from models.risk.attributes import Attributes
from models.risk.signals import ItemSignals, LiveSignals
from models.risk.tariff import Tariff
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from schemas.records import Declaration, GoodsItem, Party, TariffMeasure
from streams.evidence.observations import Observation
from streams.evidence.signals import Signals
from streams.local.valkey import Valkey
from streams.redis.keys import SignalKeys
from streams.synthetic.irregularities import PART_EUR, PARTS, encoded_again

SHARES: Final = {
    "misclassification": 0.02,
    "photo_reuse": 0.015,
    "undervaluation": 0.015,
    "splitting": 0.015,
}
"""Of the declarations; splitting counts the parts."""
OWN_FRAUD: Final = 0.04
"""Share to which the rows' own frauds are thinned."""
WON_PER_EURO: Final = 1350.0
"""About the mean rate of 2020 and 2021: the de minimis value is in euro."""
INSPECTED: Final = 0.10
COMBINATIONS: Final[Mapping[str, tuple[bool, bool]]] = {
    "tabular": (False, False),
    "tabular_text": (True, False),
    "tabular_photo": (False, True),
    "all": (True, True),
}
"""Name → whether text and photo count, beside history, prices and consignments."""


@dataclass(frozen=True, slots=True)
class SyntheticDeclaration:
    """A declaration of the benchmark."""

    declaration: Declaration
    attributes: Attributes
    photo: bytes
    kind: str
    """Empty if regular, `own` for a fraud of the data, otherwise the injected kind."""


@contextlib.contextmanager
def stores(count: int) -> Iterator[list[Signals]]:
    """Yield empty stores of live signals, on a server of their own that ends with them."""
    with tempfile.TemporaryDirectory() as directory:
        server = Valkey(Path(directory)).start()
        try:
            server.wait()
            yield [
                Signals(
                    Redis.from_url(server.url, protocol=3),
                    keys=SignalKeys(f"round {number}".encode()),
                    ttl=timedelta(days=1),
                    pause_s=0,
                )
                for number in range(count)
            ]
        finally:
            server.stop()


def evaluate_evidence(
    goods: Path,
    declarations: Path,
    scorer: Scorer,
    signals: Sequence[Signals],
    *,
    as_labelled: bool = False,
    seed: int = 7,
    say: Say = print,
) -> dict[str, Any]:
    """Return, for each combination of evidence, recall in 10 of 100 inspected and calibration.

    Args:
        goods: folder of goods; the split test is paired.
        declarations: folder with train.csv, the past, and valid.csv, which is judged.
        scorer: a bundle.
        signals: an empty store for each round.
        as_labelled: keep all of the rows' own frauds.
        seed: of every choice.
        say: reports progress.

    Raises:
        BadDeclarations: a folder cannot be read, or no row's code occurs among the goods.
        BadCatalogue: the goods cannot be read.
    """
    past = [_in_euro(row) for row in read(declarations, "train")]
    tariff = _tariff(past)
    say("Replaying the past")
    history = History()
    replay([_as_declared(row, tariff) for row in past], history)
    of_code = defaultdict(list)
    for product in read_goods(goods, "test"):
        of_code[product.hs6].append(product)
    rows = [_in_euro(row) for row in read(declarations, "valid")]
    rows = [_as_declared(row, tariff) for row in rows if row.attributes.hs6 in of_code]
    if not rows:
        raise BadDeclarations("No declaration's code occurs among the goods of the split test.")
    rounds = []
    for number, store in enumerate(signals):
        say("Judging", number, len(signals))
        maker = _Maker(rows, of_code, tariff, random.Random(seed + number))  # noqa: S311 - seeded
        cases = list(maker.cases(as_labelled=as_labelled))
        rounds.append(_judge(cases, history, tariff, scorer, store))
    return {
        "rounds": len(rounds),
        "declarations": int(np.mean([len(judged["kinds"]) for judged in rounds])),
        "irregular": float(np.mean([np.mean(judged["kinds"] != "") for judged in rounds])),
        **{name: _figures(name, rounds) for name in COMBINATIONS},
    }


def _figures(name: str, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    recalls, errors, by_kind = [], [], defaultdict(list)
    for judged in rounds:
        risk, kinds = judged[name], judged["kinds"]
        irregular = kinds != ""
        inspected = np.zeros(len(risk), np.bool_)
        inspected[np.argsort(-risk, kind="stable")[: int(INSPECTED * len(risk))]] = True
        recalls.append(float((inspected & irregular).sum() / irregular.sum()))
        errors.append(calibration_error(risk, irregular))
        for kind in np.unique(kinds[irregular]):
            by_kind[str(kind)].append(float(inspected[kinds == kind].mean()))
    return {
        "recall_at_10": float(np.mean(recalls)),
        "spread": float(np.std(recalls)),
        "ece": float(np.mean(errors)),
        "by_kind": {kind: float(np.mean(shares)) for kind, shares in sorted(by_kind.items())},
    }


def _judge(
    cases: Sequence[SyntheticDeclaration],
    history: History,
    tariff: Tariff,
    scorer: Scorer,
    store: Signals,
) -> dict[str, Any]:
    """Score every case with each combination of evidence, in chronological order.

    Returns:
        combination → risks (N,), and `kinds` (N,).
    """
    photos = {case.photo: image.decode(case.photo) for case in cases}
    vectors = dict(zip(photos, scorer.embed_photos(list(photos.values())), strict=True))
    hashes = {photo: perceptual_hash(pixels) for photo, pixels in photos.items()}
    texts = scorer.embed_texts([case.declaration.goods_items[0].description for case in cases])
    live = asyncio.run(
        _gather(
            store,
            [
                Observation(
                    case.declaration.declaration_id,
                    case.declaration,
                    (case.attributes,),
                    ((hashes[case.photo],),),
                    case.declaration.acceptance_time.timestamp(),
                )
                for case in cases
            ],
        )
    )
    risks: dict[str, Any] = {"kinds": np.array([case.kind for case in cases])}
    for name, (with_text, with_photo) in COMBINATIONS.items():
        evidence = []
        for case, text, signals in zip(cases, texts, live, strict=True):
            item_signals = ItemSignals(
                price=history.peers(case.attributes),
                photo=signals.items[0].photo if with_photo else None,
                rates=history.rates(case.attributes),
            )
            item = ItemEvidence(
                case.declaration.goods_items[0],
                text if with_text else None,
                (vectors[case.photo],) if with_photo else (),
            )
            evidence.append(
                DeclarationEvidence(
                    case.declaration, (item,), replace(signals, items=(item_signals,)), tariff
                )
            )
        risks[name] = np.array([verdict.risk for verdict in scorer.score(evidence)])
    return risks


async def _gather(store: Signals, observations: Sequence[Observation]) -> list[LiveSignals]:
    gathered: list[LiveSignals] = []
    for start in range(0, len(observations), 16):
        batch = await store.gather(observations[start : start + 16])
        gathered += [signals for signals in batch if signals is not None]
    if len(gathered) != len(observations):
        raise BadDeclarations("The store of the live signals failed: run it again.")
    return gathered


class _Maker:
    """Pairs rows with goods and makes some irregular."""

    def __init__(
        self,
        rows: Sequence[Labelled],
        of_code: Mapping[str, Sequence[Goods]],
        tariff: Tariff,
        dice: random.Random,
    ) -> None:
        self._rows = rows
        self._of_code = of_code
        self._tariff = tariff
        self._dice = dice
        self._used: list[Goods] = []

    def cases(self, *, as_labelled: bool) -> Iterator[SyntheticDeclaration]:
        """Yield cases in chronological order."""
        dice = self._dice
        regular = [row for row in self._rows if not row.irregular]
        own = [row for row in self._rows if row.irregular]
        if not as_labelled:
            injected = sum(SHARES.values())
            own = dice.sample(own, round(len(regular) * OWN_FRAUD / (1 - injected)))
        kinds = [k for k, share in SHARES.items() for _ in range(round(share * len(regular)))]
        # Each part of a split consignment is a declaration.
        parts = kinds.count("splitting")
        kinds = [kind for kind in kinds if kind != "splitting"]
        kinds += ["splitting"] * max(1, round(parts / np.mean(PARTS)))
        kinds += [""] * (len(regular) - len(kinds))
        dice.shuffle(kinds)
        planned = [(row, "own") for row in own] + list(zip(regular, kinds, strict=True))
        timed = sorted((self._at(row), number) for number, (row, _) in enumerate(planned))
        cases = [case for at, number in timed for case in self._case(*planned[number], at)]
        yield from sorted(cases, key=lambda case: case.declaration.acceptance_time)

    def _at(self, row: Labelled) -> datetime:
        midnight = datetime.combine(row.day, time(), UTC)
        return midnight + timedelta(seconds=self._dice.randrange(86_400))

    def _case(self, row: Labelled, kind: str, at: datetime) -> Iterator[SyntheticDeclaration]:
        dice, attributes = self._dice, row.attributes
        goods = dice.choice(self._of_code[attributes.hs6])
        photo = goods.image.read_bytes()
        if kind == "photo_reuse":
            others = [used for used in self._used if used.hs6[:4] != goods.hs6[:4]]
            if others:
                photo = encoded_again(dice.choice(others).image.read_bytes(), dice)
        elif kind == "misclassification":
            attributes = self._under_lower_duty(attributes, at)
        elif kind == "undervaluation":
            attributes = replace(
                attributes, amount=(attributes.amount or 0) * dice.uniform(0.1, 0.35)
            )
        elif kind == "splitting":
            for _ in range(dice.choice(PARTS)):
                value = dice.uniform(*PART_EUR)
                share = value / (attributes.amount or value)
                part = replace(
                    attributes, amount=value, net_mass=(attributes.net_mass or 1) * share
                )
                yield self._made(part, goods, photo, kind, at)
                at += timedelta(minutes=dice.randrange(1, 600))
            return
        if not kind:
            self._used.append(goods)
        yield self._made(attributes, goods, photo, kind, at)

    def _under_lower_duty(self, attributes: Attributes, at: datetime) -> Attributes:
        lower = self._tariff.lower_duty(attributes.hs6, attributes.origin, at, self._of_code)
        near = [code for code in lower if code[:2] == attributes.hs6[:2]]
        far = [code for code in self._of_code if code[:4] != attributes.hs6[:4]]
        code = self._dice.choice([c for c in near if c[:4] != attributes.hs6[:4]] or lower or far)
        return replace(
            attributes, hs6=code, duty_rate=self._tariff.duty(code, attributes.origin, at)
        )

    def _made(
        self, attributes: Attributes, goods: Goods, photo: bytes, kind: str, at: datetime
    ) -> SyntheticDeclaration:
        number = self._dice.getrandbits(48)
        item = GoodsItem(
            sequence_number=1,
            commodity_code=attributes.hs6,
            description=goods.description,
            country_of_origin=attributes.origin,
            net_mass=Decimal(f"{attributes.net_mass or 0:.6f}"),
            item_amount=Decimal(f"{attributes.amount or 0:.2f}"),
            item_currency="EUR",
        )
        declaration = Declaration(
            declaration_id=f"B{number:012x}",
            version=1,
            acceptance_time=at,
            declaration_office=attributes.office,
            declarant=Party(identification=attributes.declarant),
            importer=Party(identification=attributes.importer),
            seller=Party(identification=attributes.seller),
            country_of_dispatch=attributes.dispatch,
            mode_of_transport=attributes.mode,
            procedure=attributes.procedure,
            goods_items=(item,),
        )
        return SyntheticDeclaration(declaration, attributes, photo, kind)


def _in_euro(row: Labelled) -> Labelled:
    amount = row.attributes.amount
    return replace(
        row,
        attributes=replace(
            row.attributes, amount=None if amount is None else amount / WON_PER_EURO
        ),
    )


def _tariff(rows: Sequence[Labelled]) -> Tariff:
    """Return each code's median duty, as declared in the past."""
    rates = defaultdict(list)
    for row in rows:
        if row.attributes.duty_rate is not None:
            rates[row.attributes.hs6].append(row.attributes.duty_rate)
    epoch = datetime.fromtimestamp(0, UTC)
    return Tariff(
        TariffMeasure(
            measure_id=code,
            commodity_code=code,
            duty_rate=median(declared),
            valid_from=epoch,
            valid_until=epoch,
            source="median of the declared rates",
        )
        for code, declared in rates.items()
    )


def _as_declared(row: Labelled, tariff: Tariff) -> Labelled:
    """Keep what an event of the contract contains: no regime, and the tariff's duty."""
    attributes, at = row.attributes, datetime.combine(row.day, time(), UTC)
    duty = tariff.duty(attributes.hs6, attributes.origin, at)
    return replace(row, attributes=replace(attributes, regime="", duty_rate=duty))
