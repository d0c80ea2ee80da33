"""Goods and declarations → how well single explanations do: in curves, on planted evidence."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from models.datasets.declarations import Labelled
from models.datasets.declarations import read as read_declarations
from models.datasets.goods import Goods
from models.datasets.history import History, replay
from models.encoding.image import PHOTO_SIZE, decode
from models.evaluation.curves import Curves, Value
from models.explanation.attribution import Attribution
from models.explanation.explainer import Explainer, parts
from models.explanation.heat_map import covered, enlarged, hottest
from models.hs.classifier import HsModel
from models.hs.modalities import GoodsEmbeddings, ModalityPosteriors, modality_posteriors
from models.risk.kinds import EXTERNAL
from models.risk.model import log_ratios
from models.risk.signals import ItemSignals, LiveSignals, PhotoUse
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from models.vectors import Array
from schemas.records import Declaration, GoodsItem

GOODS: Final = 200
"""Goods for each figure, and declarations."""
ORDERS: Final = 3
"""Random ones for each goods."""
WORDS: Final = 3
"""Least number of words in a text whose words are put in order."""
OBJECT: Final = PHOTO_SIZE // 2
"""Side of what is pasted into a photo. Unit: pixels."""
HOTTEST: Final = 0.1
"""Share of a heat map that is compared with the pasted object."""
NOTHING: Final = ModalityPosteriors(None, None, None, None)


class Trial:
    """Puts explanations to the test, one kind of goods at a time."""

    def __init__(self, scorer: Scorer, explainer: Explainer, dice: np.random.Generator) -> None:
        self._scorer = scorer
        self._explainer = explainer
        self.dice = dice

    def text(self, goods: Goods, every: Sequence[Goods]) -> Curves:
        """Give goods the text of goods of another chapter, and take its words away.

        Args:
            goods: keep their photo and code.
            every: goods to take the text from.
        """
        text = self._other(goods, every).description
        words = [text[start:end] for start, end in parts(text)]
        weights = [word.weight for word in self._explainer.words(_item(text, goods.hs6))]
        (photo,) = self._scorer.embed_photos([decode(goods.image.read_bytes())])

        def risk(kept: Sequence[int]) -> float:
            left = " ".join(words[place] for place in sorted(kept))
            vector = self._scorer.embed_texts([left])[0] if left else None
            return self._risk_of(goods.hs6, vector, photo)

        return self._curves(risk, weights)

    def image(self, goods: Goods, every: Sequence[Goods]) -> Curves:
        """Paste other goods into a photo, and cover its regions with its mean colour.

        In a photo of other goods alone every region speaks against the code, and no order is much
        better than another.
        """
        photo, _ = self._pasted(goods, every)
        weights = self._explainer.regions(goods.hs6[:4], photo).ravel()
        cells = [(view != photo).any(axis=2) for view in covered(photo)[1:]]
        colour = photo.mean(axis=(0, 1)).astype(np.uint8)
        (text,) = self._scorer.embed_texts([goods.description])

        def risk(kept: Sequence[int]) -> float:
            shown = photo.copy()
            for place in set(range(len(cells))).difference(kept):
                shown[cells[place]] = colour
            (vector,) = self._scorer.embed_photos([shown])
            return self._risk_of(goods.hs6, text, vector)

        return self._curves(risk, weights.tolist())

    def attributes(self, declarations: Path) -> Iterator[Curves]:
        """Make declarations irregular in one attribute, and take the pieces of evidence away."""
        history = History()
        replay(read_declarations(declarations, "train"), history)
        rows = read_declarations(declarations, "valid")
        for place in self.dice.permutation(len(rows))[:GOODS]:
            evidence = self._declared(rows[int(place)], history)
            attribution = Attribution(self._scorer, evidence, 0)
            shares = attribution.shares
            by_kind = log_ratios(attribution.context.likelihood_ratios)
            ratios = {
                kind.evidence: (kind.name, by_kind[kind.name])
                for kind in EXTERNAL
                if kind.name in by_kind
            }
            names = list(shares)
            code = evidence.items[0].item.commodity_code

            def risk(
                kept: Sequence[int],
                names: Sequence[str] = names,
                ratios: Mapping[str, tuple[str, float]] = ratios,
                code: str = code,
            ) -> float:
                return self._risk(code, NOTHING, dict(ratios[names[place]] for place in kept))

            order = sorted(range(len(names)), key=lambda n: -shares[names[n]])
            yield Curves.of(risk, order, list(permutations(range(len(names)))))

    def planted_word(self, goods: Goods, names: Mapping[str, Sequence[str]]) -> bool:
        """Put a word for other goods into a text: is its contribution the largest?"""
        headings = [heading for heading in names if heading[:2] != goods.hs6[:2]]
        words = names[headings[int(self.dice.integers(len(headings)))]]
        word = words[int(self.dice.integers(len(words)))]
        text = goods.description.split()
        place = int(self.dice.integers(len(text) + 1))
        planted = " ".join([*text[:place], word, *text[place:]])
        contributions = self._explainer.words(_item(planted, goods.hs6))
        return max(range(len(contributions)), key=lambda n: contributions[n].weight) == place

    def planted_object(self, goods: Goods, every: Sequence[Goods]) -> bool:
        """Paste other goods into a photo: does most of the hottest tenth lie on them?"""
        photo, place = self._pasted(goods, every)
        hot = hottest(enlarged(self._explainer.regions(goods.hs6[:4], photo)), HOTTEST)
        return bool(hot[place].sum() > hot.sum() / 2)

    def likeness(self, goods: Sequence[Goods], hs: HsModel, bundle: Path) -> float:
        """Return the mean rank correlation of words and maps with those of a shuffled model."""
        shuffled = Explainer(self._scorer.with_hs(hs), bundle, threads=1)
        correlations = []
        for declared in goods:
            photo = decode(declared.image.read_bytes())
            maps = (
                explainer.regions(declared.hs6[:4], photo).ravel()
                for explainer in (self._explainer, shuffled)
            )
            correlations.append(rank_correlation(*maps))
            if has_order(declared):
                item = _item(declared.description, declared.hs6)
                weights = (
                    np.array([word.weight for word in explainer.words(item)])
                    for explainer in (self._explainer, shuffled)
                )
                correlations.append(rank_correlation(*weights))
        return float(np.mean(correlations))

    def stable(self, goods: Sequence[Goods], again: Explainer) -> bool:
        """Return whether a model that is loaded anew explains goods in equal bytes."""
        for declared in goods:
            photo = decode(declared.image.read_bytes())
            item = ItemEvidence(
                _item(declared.description, declared.hs6).item,
                self._scorer.embed_texts([declared.description])[0],
                (self._scorer.embed_photos([photo])[0],),
            )
            evidence = DeclarationEvidence(Declaration(goods_items=(item.item,)), (item,))
            if self._explainer.explain(evidence, [[photo]]) != again.explain(evidence, [[photo]]):
                return False
        return True

    def _curves(self, risk: Value, weights: Sequence[float]) -> Curves:
        order = sorted(range(len(weights)), key=lambda place: -weights[place])
        return Curves.of(
            risk, order, [self.dice.permutation(len(weights)).tolist() for _ in range(ORDERS)]
        )

    def _risk_of(self, code: str, text: Array | None, photo: Array) -> float:
        goods = GoodsEmbeddings(text, (photo,))
        return self._risk(code, modality_posteriors(self._scorer.hs, [goods])[0])

    def _risk(
        self, code: str, posteriors: ModalityPosteriors, ratios: Mapping[str, float] | None = None
    ) -> float:
        return float(1 / (1 + np.exp(-self._scorer.log_odds(code, posteriors, ratios or {}))))

    def _pasted(
        self, goods: Goods, every: Sequence[Goods]
    ) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
        """Return a photo with one of goods of another chapter pasted into it, and the place."""
        photo = decode(goods.image.read_bytes()).copy()
        other = Image.fromarray(decode(self._other(goods, every).image.read_bytes()))
        top, left = map(int, self.dice.integers(0, PHOTO_SIZE - OBJECT + 1, 2))
        place = slice(top, top + OBJECT), slice(left, left + OBJECT)
        photo[place] = np.asarray(other.resize((OBJECT, OBJECT)))
        return photo, place

    def _other(self, goods: Goods, every: Sequence[Goods]) -> Goods:
        """Return goods of another chapter."""
        while True:
            other = every[int(self.dice.integers(len(every)))]
            if other.hs6[:2] != goods.hs6[:2]:
                return other

    def _declared(self, row: Labelled, history: History) -> DeclarationEvidence:
        """Return a declaration that is irregular by one of four pieces of evidence, at random.

        A fraud in the data stays as it is, because of its history.
        """
        attributes, dice = row.attributes, self.dice
        amount, mass = attributes.amount or 1.0, attributes.net_mass or 1.0
        kind = "own" if row.irregular else str(dice.choice(["price", "photo", "split"]))
        if kind == "price":
            amount *= dice.uniform(0.1, 0.35)
        if kind == "split":
            amount, mass = 90.0, mass * 90.0 / amount
        use = PhotoUse(0, 4, 4, None, "") if kind == "photo" else PhotoUse(4, 0, 0, None, "")
        item = GoodsItem(
            sequence_number=1,
            commodity_code=attributes.hs6,
            country_of_origin=attributes.origin,
            net_mass=Decimal(str(round(mass, 6))),
            item_amount=Decimal(str(round(amount, 2))),
            item_currency="EUR",
        )
        live = LiveSignals(
            (ItemSignals(history.peers(attributes), use, history.rates(attributes)),),
            small_count=3 if kind == "split" else 0,
            small_value=300.0 if kind == "split" else 0.0,
        )
        declaration = Declaration(
            declaration_office=attributes.office,
            acceptance_time=datetime.combine(row.day, time(), UTC),
            country_of_dispatch=attributes.dispatch,
            mode_of_transport=attributes.mode,
            procedure=attributes.procedure,
            goods_items=(item,),
        )
        return DeclarationEvidence(declaration, (ItemEvidence(item, None, ()),), live)


def has_order(goods: Goods) -> bool:
    """Return whether a text has enough words to put them in order."""
    return len(goods.description.split()) >= WORDS


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Spearman's coefficient; 0 where one of the two is flat."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _item(text: str, code: str) -> ItemEvidence:
    return ItemEvidence(
        GoodsItem(sequence_number=1, description=text, commodity_code=code), None, ()
    )
