"""A bundle on goods that it has not seen → figures and plots."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.metrics import roc_auc_score

from models.datasets.goods import BadCatalogue, Goods, read, split_or_test
from models.encoding.encoders import Encoders
from models.encoding.image import decode
from models.evaluation.ranking import Ranked, RankingResult
from models.hs.classifier import MODALITIES, HsModel, chosen
from models.progress import Say
from models.scoring.bundle import verify
from models.scoring.loading import load_hs
from models.training.embeddings import Embedded, Embedder
from models.vectors import Array

PAIRS: Final = 5
"""Random pairs for each matched one, in the measure of agreement."""
SEED: Final = 7
"""Of the random pairs."""
OFTEN: Final = 100
"""Goods between two reports of progress."""


@dataclass(frozen=True, slots=True)
class EmbeddedGoods:
    """Goods with their embeddings."""

    code: str
    text: Array | None  # (D,); None for goods of which there is only a photo
    photo: Array  # (I,)


def evaluate_hs(
    goods: Path,
    split: str | None,
    bundle: Path,
    plots: Path | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Return the HS model's figures over the whole nomenclature.

    Goods whose code the bundle's nomenclature lacks are left out; `outside` is their number.

    Args:
        goods: folder of goods; text is `description`, never the title. A row without one is photo
            only.
        split: of it; None for `test`, or for all goods of a folder without splits.
        bundle: to measure.
        plots: folder for reliability.png and confusion.png; None for no plots.
        say: called with the progress.

    Returns:
        {"text" | "image" | "both": what `RankingResult.figures` returns, "paired": see `paired`,
        "agreement_auc", "outside"}. "image" is over all goods, "text", "both" and "agreement_auc"
        over those with a text; None without any.

    Raises:
        BadCatalogue: the folder cannot be read, or has no goods to score.
        BadBundle: the bundle is incomplete or was changed.
    """
    every = read(goods, split_or_test(goods, split))
    verify(bundle)
    encoders, hs = Encoders(bundle), load_hs(bundle)
    codes = set(hs.codes)
    asked = [item for item in every if item.hs6 in codes]
    if not asked:
        raise BadCatalogue(f"{goods} has no goods whose hs6 is in the bundle's nomenclature.")
    embedded = list(embed(encoders, asked, say))
    results = {name: ask(hs, name, embedded, say) for name in MODALITIES}
    if plots is not None:
        from models.evaluation.plots import draw  # noqa: PLC0415 - only where plots are wanted

        present = {name: result for name, result in results.items() if result is not None}
        draw(present, hs.codes, plots)
    return {
        **{name: result and result.figures() for name, result in results.items()},
        "paired": paired(embedded, results),
        "agreement_auc": agreement_auc(hs, embedded),
        "outside": len(every) - len(asked),
    }


def embed(encoders: Encoders, goods: Sequence[Goods], say: Say) -> Iterator[EmbeddedGoods]:
    """Yield goods as they are, embedded as a worker embeds them."""
    for number, item in enumerate(goods):
        if number % OFTEN == 0:
            say("Embedding goods", number, len(goods))
        text = encoders.embed_texts([item.description])[0] if item.has_text else None
        (photo,) = encoders.embed_photos([decode(item.image.read_bytes())])
        yield EmbeddedGoods(item.hs6, text, photo)


def ask(
    hs: HsModel, name: str, goods: Sequence[EmbeddedGoods], say: Say = print
) -> RankingResult | None:
    """Ask the model about the goods that have what a modality needs; None if none have."""
    answerable = [item for item in goods if name == "image" or item.text is not None]
    rows = []
    for number, item in enumerate(answerable):
        if number % OFTEN == 0:
            say(f"Naming the codes by {name}", number, len(answerable))
        posterior = hs.posterior(*chosen(name, item.text, item.photo))
        rows.append(Ranked.of(hs, name, posterior, item.code))
    return RankingResult.of(rows) if rows else None


def paired(
    goods: Sequence[EmbeddedGoods], results: Mapping[str, RankingResult | None]
) -> dict[str, float | None]:
    """Return the accuracy by each modality on the same goods: those with both text and photo.

    Args:
        goods: all of them.
        results: of MODALITIES, as `ask` returns them.

    Returns:
        {"n", "text" | "image" | "both": top-1, a fraction; None without such goods}.
    """
    has_text = np.array([item.text is not None for item in goods])
    figures: dict[str, float | None] = {"n": int(has_text.sum())}
    for name, result in results.items():
        hits = None if result is None else result.ranks == 0
        if hits is not None and name == "image":
            hits = hits[has_text]
        figures[name] = None if hits is None or not len(hits) else float(hits.mean())
    return figures


def agreement_auc(hs: HsModel, goods: Sequence[EmbeddedGoods]) -> float | None:
    """Return how well agreement separates matched text and photo from pairs of other headings.

    The area under the ROC curve: the probability that a matched pair agrees more than a random one.
    Only goods with a text count; None if there are none, or all are of one heading.
    """
    dice = np.random.default_rng(SEED)
    described = [item for item in goods if item.text is not None]
    headings = np.array([item.code[:4] for item in described])
    if len(set(headings)) < 2:  # noqa: PLR2004 - a pair
        return None
    photos = [hs.posterior(None, item.photo) for item in described]
    matched, random = [], []
    for number, item in enumerate(described):
        text = hs.posterior(item.text, None)
        matched.append(hs.consistency(text, photos[number]))
        others = dice.choice(np.flatnonzero(headings != headings[number]), PAIRS)
        random += [hs.consistency(text, photos[other]) for other in others]
    is_match = [True] * len(matched) + [False] * len(random)
    return float(roc_auc_score(is_match, matched + random))


def compare(goods: Path, bundle: Path, seed: int = 7, say: Say = print) -> dict[str, Any]:
    """Train each kind of fusion, and networks of one modality, and compare them on valid.

    Args:
        goods: folder of goods; those without a text are left out.
        bundle: whose encoders the networks are trained over.
        seed: of every random choice.
        say: called with the progress.

    Returns:
        Kind, "text only" or "image only" → {"text" | "image" | "both": top-1}, fractions.
    """
    import torch  # noqa: PLC0415 - only to train

    from models.networks.fusion import KINDS  # noqa: PLC0415 - only to train
    from models.training import fusion  # noqa: PLC0415 - only to train

    embedder = Embedder.of(bundle, say)
    learn = read(goods, "train", described=True)
    held = embedder.embedded(read(goods, "valid", described=True))
    names, labels = np.unique([item.hs6 for item in learn], return_inverse=True)
    texts, photos = (torch.from_numpy(views) for views in embedder.variants(learn, seed))
    right = torch.from_numpy(np.searchsorted(names, held.codes))
    figures: dict[str, Any] = {}

    def evaluate(label: str, kind: str, only: str | None, modalities: Sequence[str]) -> None:
        say(f"Training {label}")
        network = fusion.train(
            texts,
            photos,
            torch.from_numpy(labels),
            torch.ones(len(labels), dtype=torch.bool),
            kind=kind,
            codes=len(names),
            seed=seed,
            only=only,
        )
        figures[label] = {name: _top1(network, name, held, right) for name in modalities}
        say(f"{label}: " + ", ".join(f"{name} {top1:.1%}" for name, top1 in figures[label].items()))

    for kind in KINDS:
        evaluate(kind, kind, None, MODALITIES)
    for name in ("text", "image"):
        evaluate(f"{name} only", "multconcat", name, (name,))
    return figures


def _top1(network: Any, name: str, held: Embedded, right: Any) -> float:
    import torch  # noqa: PLC0415 - only to train

    present = torch.tensor([[name != "image", name != "text"]]).float().expand(len(right), 2)
    with torch.no_grad():
        scores = network(torch.from_numpy(held.meanings), torch.from_numpy(held.photos), present)
    return float((scores.argmax(dim=1) == right).float().mean())
