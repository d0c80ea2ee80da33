"""A bundle on goods that it has not seen → figures and plots."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.metrics import roc_auc_score

from models.datasets.goods import Goods, read
from models.encoding.encoders import Encoders
from models.evaluation.ranking import RankingResult
from models.hs import conformal
from models.hs.classifier import MODALITIES, HsModel, chosen
from models.hs.nomenclature import LANGUAGES, held_out, lines
from models.progress import Say
from models.scoring.scorer import load_hs
from models.training.bundle_builder import ARTIFACTS, default_bundle
from models.training.embeddings import Embedded, Embedder
from models.vectors import Array, best

PAIRS: Final = 5
"""Random pairs for each matched one, in the measure of agreement."""
SEED: Final = 7
"""Of the random pairs."""


def evaluate_hs(
    goods: Path, split: str, plots: Path | None = None, say: Say = print
) -> dict[str, Any]:
    """Return the HS model's figures over the whole nomenclature.

    Args:
        goods: folder of goods.
        split: of it; text is `description`, never the title.
        plots: folder for reliability.png and confusion.png; None for no plots.
        say: called with the progress.

    Returns:
        {"text" | "image" | "both": {"top1", "top3", "top5", "macro_f1", "ece", "coverage",
        "set_size"}, "agreement_auc", "unseen": see `unseen`,
        "languages": {"en", "fr", "nl", "de"}}, fractions.
    """
    bundle = default_bundle(say)
    embedder = Embedder.of(bundle, say)
    asked = read(goods, split)
    embedded = embedder.embedded(asked)
    hs = load_hs(bundle)
    say("Asking the model")
    results = {name: ask(hs, name, embedded) for name in MODALITIES}
    if plots is not None:
        from models.evaluation.plots import draw  # noqa: PLC0415 - only where plots are wanted

        draw(results, hs.codes, plots)
    return {
        **{name: result.figures() for name, result in results.items()},
        "agreement_auc": agreement_auc(hs, embedded),
        "unseen": unseen(asked, say),
        "languages": languages(hs, embedder.encoders),
    }


def ask(hs: HsModel, name: str, goods: Embedded) -> RankingResult:
    """Ask the model about goods by one modality or both."""
    rows = []
    for code, text, photo in zip(goods.codes, goods.texts, goods.photos, strict=True):
        probabilities = hs.posterior(*chosen(name, text, photo)).probabilities
        right = int(np.searchsorted(hs.codes, code))
        members = conformal.members(probabilities, hs.calibration[name].threshold)
        top = int(probabilities.argmax())
        rank = int((probabilities > probabilities[right]).sum())
        rows.append((right, rank, top, probabilities[top], right in members, len(members)))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return RankingResult(*columns)


def agreement_auc(hs: HsModel, goods: Embedded) -> float:
    """Return how well agreement separates matched text and photo from pairs of other headings.

    The area under the ROC curve: the probability that a matched pair agrees more than a random one.
    """
    dice = np.random.default_rng(SEED)
    headings = np.array([code[:4] for code in goods.codes])
    photos = [hs.posterior(None, photo) for photo in goods.photos]
    matched, random = [], []
    for number, vector in enumerate(goods.texts):
        text = hs.posterior(vector, None)
        matched.append(hs.consistency(text, photos[number]))
        others = dice.choice(np.flatnonzero(headings != headings[number]), PAIRS)
        random += [hs.consistency(text, photos[other]) for other in others]
    is_match = [True] * len(matched) + [False] * len(random)
    return float(roc_auc_score(is_match, matched + random))


def unseen(goods: Sequence[Goods], say: Say = print) -> dict[str, float]:
    """Return how codes fare that nothing was trained on, by text and photo over all codes.

    For the artifacts in models/artifacts/unseen/ some codes were left out of all training, and the
    encoders were not tuned at all. The figures are on goods of those codes.

    Returns:
        "codes" and "goods": how many; "top5": with past goods of the codes in the index;
        "top5_without_past_goods"; "top5_nomenclature": by similarity of text to the nomenclature's.
    """
    bundle = default_bundle(say, ARTIFACTS / "unseen")
    hs = load_hs(bundle)
    withheld = json.loads((bundle / "model.json").read_text())["hs"]["withheld"]
    asked = [item for item in goods if item.hs6 in withheld]
    if not asked:
        return {"codes": 0, "goods": 0}
    embedded = Embedder.of(bundle, say).embedded(asked)
    gone = replace(hs, index=hs.index.without(np.searchsorted(hs.codes, withheld)))
    ways: dict[str, Callable[[Array, Array], Array]] = {
        "top5": lambda text, photo: hs.posterior(text, photo).probabilities,
        "top5_without_past_goods": lambda text, photo: gone.posterior(text, photo).probabilities,
        "top5_nomenclature": lambda text, _: hs.nomenclature_probabilities(hs.similar(text, None)),
    }
    figures: dict[str, float] = {"codes": len({item.hs6 for item in asked}), "goods": len(asked)}
    for name, way in ways.items():
        hits = 0
        for code, text, photo in zip(embedded.codes, embedded.texts, embedded.photos, strict=True):
            hits += code in {hs.codes[place] for place in best(way(text, photo), 5)}
        figures[name] = hits / len(asked)
    return figures


def compare(goods: Path, seed: int = 7, say: Say = print) -> dict[str, Any]:
    """Train each kind of fusion, and networks of one modality, and compare them on valid.

    Returns:
        Kind, "text only" or "image only" → {"text" | "image" | "both": top-1}, fractions.
    """
    import torch  # noqa: PLC0415 - only to train

    from models.networks.fusion import KINDS  # noqa: PLC0415 - only to train
    from models.training import fusion  # noqa: PLC0415 - only to train

    embedder = Embedder.of(default_bundle(say), say)
    learn, held = read(goods, "train"), embedder.embedded(read(goods, "valid"))
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
        scores = network(torch.from_numpy(held.tuned_texts), torch.from_numpy(held.photos), present)
    return float((scores.argmax(dim=1) == right).float().mean())


def languages(hs: HsModel, encoders: Encoders) -> dict[str, float]:
    """Return the top-5 accuracy by text in each language, on lines no encoder was tuned on.

    The nomenclature that answers lacks the lines in question; another line of their subheading
    stays.
    """
    every = lines()
    asked = held_out(every)
    out = {line.cn8 for line in asked}
    remaining = hs.nomenclature.without([n for n, line in enumerate(every) if line.cn8 in out])
    figures = {}
    for place, language in enumerate(LANGUAGES):
        hits = 0
        texts = encoders.embed_texts([line.texts[place] for line in asked])
        for line, text in zip(asked, texts, strict=True):
            similarities = remaining.similarities(remaining.centred(text))
            hits += line.hs6 in {remaining.codes[place] for place in best(similarities, 5)}
        figures[language] = hits / len(asked)
    return figures
