"""Goods and declarations → how faithful explanations are to the model, for the release gate.

Faithfulness by deletion and insertion (Petsiuk et al., BMVC 2018): the risk's mean while words,
regions or pieces of evidence are taken away, or brought in, in the order of what they add to it,
beside orders at random. Planted evidence that must be found (pointing game). And sanity (Adebayo et
al., NeurIPS 2018): a model with shuffled parameters or labels must be explained otherwise.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.datasets.declarations import Labelled
from models.datasets.declarations import read as read_declarations
from models.datasets.goods import Goods, read
from models.datasets.history import History, replay
from models.encoding.backends import Backend
from models.encoding.image import PHOTO_SIZE, decode
from models.explanation.counterfactuals import Counterfactuals
from models.explanation.explainer import Explainer, parts
from models.explanation.heat_map import covered, enlarged, hottest
from models.hs.classifier import HsModel
from models.progress import Say
from models.risk.model import EVIDENCE_KINDS, ModalityPosteriors, modality_posteriors
from models.risk.signals import ItemSignals, LiveSignals, PhotoUse
from models.scoring.release_gate import JUDGED
from models.scoring.scorer import DeclarationEvidence, ItemEvidence, Scorer
from models.training.bundle_builder import ARTIFACTS, default_bundle
from models.vectors import Array
from schemas.records import Declaration, GoodsItem

GOODS: Final = 200
"""Goods for each figure, and declarations."""
ORDERS: Final = 3
"""Random ones for each goods."""
STEPS: Final = 7
"""In which the regions of a photo are taken away or brought in."""
FEW: Final = 40
"""Goods for the sanity checks."""
WORDS: Final = 3
"""Least of a text whose words are put in order."""
NAMING: Final = 0.9
"""Share of the goods with a word that are of one heading, where the word names them."""
OFTEN: Final = 20
"""Goods in the split train that such a word must occur in."""
OBJECT: Final = PHOTO_SIZE // 2
"""Side of what is pasted into a photo. Unit: pixels."""
HOTTEST: Final = 0.1
SEED: Final = 7

Value = Callable[[Sequence[int]], float]
"""Parts that are there → the risk."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Mean risk on deletion and insertion, in one order and at random."""

    deletion: float
    deletion_random: float
    insertion: float
    insertion_random: float

    @classmethod
    def of(cls, value: Value, order: Sequence[int], others: Sequence[Sequence[int]]) -> "Curves":
        """Take parts away, and bring them in, in an order and in others."""
        random = [_areas(value, other) for other in others]
        return cls(*_interleaved(_areas(value, order), np.mean(random, axis=0).tolist()))


def _interleaved(one: Sequence[float], other: Sequence[float]) -> Iterator[float]:
    for pair in zip(one, other, strict=True):
        yield from pair


def _areas(value: Value, order: Sequence[int]) -> tuple[float, float]:
    """Return the areas under the curves of deletion and insertion."""
    steps = min(len(order), STEPS)
    cuts = [round(step * len(order) / steps) for step in range(steps + 1)]
    deletion = [value(order[cut:]) for cut in cuts]
    insertion = [value(order[:cut]) for cut in cuts]
    return float(np.trapezoid(deletion) / steps), float(np.trapezoid(insertion) / steps)


def evaluate_explain(
    goods: Path,
    declarations: Path,
    split: str = JUDGED,
    artifacts: Path = ARTIFACTS,
    say: Say = print,
) -> dict[str, Any]:
    """Return the figures of the contract.

    Args:
        goods: folder of goods; those of the split train tell which words name goods.
        declarations: folder with train.csv, the past, and valid.csv.
        split: of the goods that are asked about.
        artifacts: what was learned; a bundle of it is explained.
        say: told of progress.

    Returns:
        {"text" | "image" | "attributes": {"deletion_auc", "deletion_auc_random", "insertion_auc",
        "insertion_auc_random"}, "planted_word", "planted_object", "sanity":
        {"parameter_randomisation", "label_randomisation"}, "stable"}.

    Raises:
        BadCatalogue, BadDeclarations: a folder cannot be read.
    """
    bundle = default_bundle(say, artifacts)
    # One thread: those of numpy and of the encoders, in turn, would keep each other waiting.
    scorer = Scorer.load(bundle, threads=1)
    explainer = Explainer(scorer, bundle, threads=1)
    trial = Trial(scorer, explainer, np.random.default_rng(SEED))
    every = read(goods, split)
    chosen = trial.dice.permutation(len(every))[:GOODS]
    asked = [every[int(place)] for place in chosen]
    names = naming(read(goods, "train"))
    say("Taking words away")
    text = mean_curves([trial.text(one, every) for one in asked if _long(one)])
    found = []
    for number, one in enumerate(asked):
        say("Taking regions away", number, len(asked))
        found.append(trial.image(one, every))
    say("Taking attributes away")
    attributes = mean_curves(list(trial.attributes(declarations)))
    say("Planting words and objects")
    words = [trial.planted_word(one, names) for one in asked]
    objects = [trial.planted_object(one, every) for one in asked]
    say("Shuffling the model")
    few = asked[:FEW]
    return {
        "text": text,
        "image": mean_curves(found),
        "attributes": attributes,
        "planted_word": float(np.mean(words)),
        "planted_object": float(np.mean(objects)),
        "sanity": {
            "parameter_randomisation": trial.likeness(
                few, with_parameters_shuffled(scorer.hs, trial.dice), bundle
            ),
            "label_randomisation": trial.likeness(
                few, with_labels_shuffled(scorer.hs, trial.dice), bundle
            ),
        },
        "stable": trial.stable(few, Explainer(Scorer.load(bundle, threads=1), bundle, threads=1)),
    }


def mean_curves(found: Sequence[Curves]) -> dict[str, float]:
    """Return the mean areas under the curves."""
    fields = {
        "deletion_auc": "deletion",
        "deletion_auc_random": "deletion_random",
        "insertion_auc": "insertion",
        "insertion_auc_random": "insertion_random",
    }
    return {
        name: float(np.mean([getattr(one, field) for one in found]))
        for name, field in fields.items()
    }


def naming(goods: Sequence[Goods]) -> dict[str, list[str]]:
    """Return headings → the words that name their goods, and hardly any others."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in goods:
        for word in set(re.findall(r"[a-z]{3,}", one.description.lower())):
            counts[word][one.hs6[:4]] += 1
    found: defaultdict[str, list[str]] = defaultdict(list)
    for word, by_heading in sorted(counts.items()):
        heading, count = by_heading.most_common(1)[0]
        if count >= OFTEN and count / by_heading.total() >= NAMING:
            found[heading].append(word.upper())
    return dict(found)


class Trial:
    """Puts explanations to the test, goods by goods."""

    def __init__(self, scorer: Scorer, explainer: Explainer, dice: np.random.Generator) -> None:
        self._scorer = scorer
        self._explainer = explainer
        self.dice = dice

    def text(self, goods: Goods, every: Sequence[Goods]) -> Curves:
        """Give goods the text of goods of another chapter, and take its words away."""
        text = self._other(goods, every).description
        words = [text[start:end] for start, end in parts(text)]
        weights = [word.weight for word in self._explainer.words(_item(text, goods.hs6))]
        (photo,) = self._scorer.embed_photos([decode(goods.image.read_bytes())])

        def risk(kept: Sequence[int]) -> float:
            left = " ".join(words[place] for place in sorted(kept))
            vector = self._scorer.embed_texts([left])[0] if left else None
            return self._risk(goods.hs6, modality_posteriors(self._scorer.hs, vector, (photo,)))

        return self._curves(risk, weights)

    def image(self, goods: Goods, every: Sequence[Goods]) -> Curves:
        """Paste other goods into a photo, and cover its regions with its mean colour.

        Of a photo that is wholly of other goods every region speaks against the code, so that no
        order is much better than another.
        """
        photo, _ = self._pasted(goods, every)
        weights = self._explainer.regions(goods.hs6[:4], photo).ravel()
        cells = [(one != photo).any(axis=2) for one in covered(photo)[1:]]
        colour = photo.mean(axis=(0, 1)).astype(np.uint8)
        (text,) = self._scorer.embed_texts([goods.description])

        def risk(kept: Sequence[int]) -> float:
            shown = photo.copy()
            for place in set(range(len(cells))).difference(kept):
                shown[cells[place]] = colour
            (vector,) = self._scorer.embed_photos([shown])
            return self._risk(goods.hs6, modality_posteriors(self._scorer.hs, text, (vector,)))

        return self._curves(risk, weights.tolist())

    def attributes(self, declarations: Path) -> Iterator[Curves]:
        """Make declarations irregular in one attribute, and take the pieces of evidence away."""
        history = History()
        replay(read_declarations(declarations, "train"), history)
        rows = read_declarations(declarations, "valid")
        for place in self.dice.permutation(len(rows))[:GOODS]:
            evidence = self._declared(rows[int(place)], history)
            shares = Counterfactuals(self._scorer, evidence, 0).shares
            told = self._scorer.told(evidence, 0)
            names = list(shares)
            code = evidence.items[0].item.commodity_code
            nothing = ModalityPosteriors(None, None, None, None)

            def risk(
                kept: Sequence[int],
                names: Sequence[str] = names,
                told: Mapping[str, Any] = told,
                code: str = code,
                nothing: ModalityPosteriors = nothing,
            ) -> float:
                kinds = (EVIDENCE_KINDS[names[place]] for place in kept)
                return self._risk(code, nothing, {kind: told[kind].log_ratio for kind in kinds})

            order = sorted(range(len(names)), key=lambda n: -shares[names[n]])
            yield Curves.of(risk, order, list(permutations(range(len(names)))))

    def planted_word(self, goods: Goods, names: Mapping[str, Sequence[str]]) -> bool:
        """Put a word for other goods into a text: does it add most?"""
        headings = [heading for heading in names if heading[:2] != goods.hs6[:2]]
        words = names[headings[int(self.dice.integers(len(headings)))]]
        word = words[int(self.dice.integers(len(words)))]
        text = goods.description.split()
        place = int(self.dice.integers(len(text) + 1))
        planted = " ".join([*text[:place], word, *text[place:]])
        found = self._explainer.words(_item(planted, goods.hs6))
        return max(range(len(found)), key=lambda n: found[n].weight) == place

    def planted_object(self, goods: Goods, every: Sequence[Goods]) -> bool:
        """Paste other goods into a photo: does most of the hottest tenth lie on them?"""
        photo, place = self._pasted(goods, every)
        hot = hottest(enlarged(self._explainer.regions(goods.hs6[:4], photo)), HOTTEST)
        return bool(hot[place].sum() > hot.sum() / 2)

    def likeness(self, goods: Sequence[Goods], hs: HsModel, bundle: Path) -> float:
        """Return the mean rank correlation of words and maps with those of a shuffled model."""
        shuffled = Explainer(self._scorer.with_hs(hs), bundle, threads=1)
        found = []
        for one in goods:
            photo = decode(one.image.read_bytes())
            maps = (
                some.regions(one.hs6[:4], photo).ravel() for some in (self._explainer, shuffled)
            )
            found.append(_rank_correlation(*maps))
            if _long(one):
                item = _item(one.description, one.hs6)
                words = (
                    np.array([word.weight for word in some.words(item)])
                    for some in (self._explainer, shuffled)
                )
                found.append(_rank_correlation(*words))
        return float(np.mean(found))

    def stable(self, goods: Sequence[Goods], again: Explainer) -> bool:
        """Tell whether a model that is loaded anew explains goods in equal bytes."""
        for one in goods:
            photo = decode(one.image.read_bytes())
            item = ItemEvidence(
                _item(one.description, one.hs6).item,
                self._scorer.embed_texts([one.description])[0],
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

    def _risk(
        self, code: str, posteriors: ModalityPosteriors, told: Mapping[str, float] | None = None
    ) -> float:
        return float(1 / (1 + np.exp(-self._scorer.log_odds(code, posteriors, told or {}))))

    def _pasted(
        self, goods: Goods, every: Sequence[Goods]
    ) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
        """Return a photo with the photo of goods of another chapter in it, and where."""
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

        A fraud of the data is left as it is, for its history.
        """
        seen, dice = row.attributes, self.dice
        amount, mass = seen.amount or 1.0, seen.net_mass or 1.0
        kind = "own" if row.irregular else str(dice.choice(["price", "photo", "split"]))
        if kind == "price":
            amount *= dice.uniform(0.1, 0.35)
        if kind == "split":
            amount, mass = 90.0, mass * 90.0 / amount
        use = PhotoUse(0, 4, 4, None, "") if kind == "photo" else PhotoUse(4, 0, 0, None, "")
        item = GoodsItem(
            sequence_number=1,
            commodity_code=seen.hs6,
            country_of_origin=seen.origin,
            net_mass=Decimal(str(round(mass, 6))),
            item_amount=Decimal(str(round(amount, 2))),
            item_currency="EUR",
        )
        live = LiveSignals(
            (ItemSignals(history.peers(seen), use, history.rates(seen)),),
            small_count=3 if kind == "split" else 0,
            small_value=300.0 if kind == "split" else 0.0,
        )
        declaration = Declaration(
            declaration_office=seen.office,
            acceptance_time=datetime.combine(row.day, time(), UTC),
            country_of_dispatch=seen.dispatch,
            mode_of_transport=seen.mode,
            procedure=seen.procedure,
            goods_items=(item,),
        )
        return DeclarationEvidence(declaration, (ItemEvidence(item, None, ()),), live)


@dataclass(frozen=True, slots=True)
class _Shuffled:
    """A network with its inputs and outputs in other places."""

    network: Backend
    text: NDArray[np.int64]
    photo: NDArray[np.int64]
    scores: NDArray[np.int64]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        given = dict(inputs)
        given["text"] = given["text"][:, self.text]
        given["photo"] = given["photo"][:, self.photo]
        return self.network.run(given)[:, self.scores]


def with_parameters_shuffled(hs: HsModel, dice: np.random.Generator) -> HsModel:
    """Return a model whose weights on the embeddings' dimensions changed places."""
    index, nomenclature = hs.index, hs.nomenclature
    text = dice.permutation(index.text_projection.centre.size)
    photo = dice.permutation(index.photo_projection.centre.size)
    general = dice.permutation(nomenclature.lines.shape[1])
    weights, biases = nomenclature.classifier
    seen = dice.permutation(weights.shape[1])
    return replace(
        hs,
        network=_Shuffled(hs.network, text, photo, np.arange(len(hs.known))),
        index=replace(
            index,
            text_projection=replace(
                index.text_projection, axes=index.text_projection.axes[:, text]
            ),
            photo_projection=replace(
                index.photo_projection, axes=index.photo_projection.axes[:, photo]
            ),
        ),
        nomenclature=replace(
            nomenclature,
            lines=nomenclature.lines[:, general],
            classifier=(weights[:, seen], biases),
        ),
    )


def with_labels_shuffled(hs: HsModel, dice: np.random.Generator) -> HsModel:
    """Return a model whose codes changed places."""
    index, nomenclature = hs.index, hs.nomenclature
    goods, lines = dice.permutation(len(index.codes)), dice.permutation(len(nomenclature.lines))
    here = (
        np.arange(index.text_projection.centre.size),
        np.arange(index.photo_projection.centre.size),
    )
    return replace(
        hs,
        network=_Shuffled(hs.network, *here, dice.permutation(len(hs.known))),
        index=replace(index, texts=index.texts[goods], photos=index.photos[goods]),
        nomenclature=replace(nomenclature, lines=nomenclature.lines[lines]),
    )


def _item(text: str, code: str) -> ItemEvidence:
    return ItemEvidence(
        GoodsItem(sequence_number=1, description=text, commodity_code=code), None, ()
    )


def _long(goods: Goods) -> bool:
    return len(goods.description.split()) >= WORDS


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Spearman's coefficient; 0 where one of the two is flat."""
    ranks = np.stack([np.unique(some, return_inverse=True)[1].ravel() for some in (one, other)])
    if not ranks.any(axis=1).all():
        return 0.0
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    one_by_one = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return float(one_by_one[0] @ one_by_one[1])
