"""Files of goods texts → how well their codes are named, and false ones found, by text alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from sklearn.metrics import roc_auc_score

from models.datasets.texts import BadTexts, GoodsText, read, to_measure_on
from models.evaluation.ranking import Ranked, RankingResult
from models.hs.classifier import Posterior
from models.hs.modalities import GoodsEmbeddings, modality_posteriors
from models.progress import Say
from models.scoring.scorer import Scorer

SEED: Final = 7
"""Of the false codes."""
FLAGGED: Final = 10
"""One in so many of the rightly declared goods may be flagged."""
OFTEN: Final = 100
"""Texts between two reports of progress."""


def evaluate_texts(
    files: Sequence[Path], scorer: Scorer, say: Say = print, *, held_back: bool = False
) -> dict[str, Any]:
    """Return the figures of each file, by its name without the suffix.

    Texts whose code the bundle's nomenclature lacks are left out; `outside` is their number.

    Args:
        files: each as `models.datasets.texts.read` takes it.
        scorer: the bundle to measure.
        say: called with the progress.
        held_back: measure only on texts that training sets aside for measuring.

    Returns:
        Name → what `RankingResult.figures` returns, "outside" and "misdeclared": see `misdeclared`.

    Raises:
        BadTexts: a file cannot be read, or has no text to score. Nothing is scored before all files
            are read.
    """
    codes = set(scorer.hs.codes)
    by_file = {}
    for file in files:
        texts = to_measure_on(read(file)) if held_back else read(file)
        inside = [text for text in texts if text.hs6 in codes]
        if not inside:
            raise BadTexts(f"{file} has no text whose hs6 is in the bundle's nomenclature.")
        by_file[file.stem] = inside, len(texts) - len(inside)
    return {
        name: {**_figures(name, texts, scorer, say), "outside": outside}
        for name, (texts, outside) in by_file.items()
    }


def _figures(name: str, texts: Sequence[GoodsText], scorer: Scorer, say: Say) -> dict[str, Any]:
    dice = np.random.default_rng(SEED)
    codes = by_heading([text.hs6 for text in texts])
    ranked, log_odds = [], []
    for number, text in enumerate(texts):
        if number % OFTEN == 0:
            say(f"Naming the texts of {name}", number, len(texts))
        (vector,) = scorer.embed_texts([text.text])
        (posteriors,) = modality_posteriors(scorer.hs, [GoodsEmbeddings(vector)])
        by_text = cast("Posterior", posteriors.text)  # there is a text
        ranked.append(Ranked.of(scorer.hs, "text", by_text, text.hs6))
        declared = text.hs6, *false_codes(text.hs6, codes, dice)
        log_odds.append(
            [np.nan if code is None else scorer.log_odds(code, posteriors, {}) for code in declared]
        )
    return {
        **RankingResult.of(ranked).figures(),
        "misdeclared": misdeclared(*zip(*log_odds, strict=True)),
    }


def by_heading(codes: Sequence[str]) -> dict[str, list[str]]:
    """Return headings → their codes that occur, each once; both sorted."""
    headings: dict[str, list[str]] = {}
    for code in sorted(set(codes)):
        headings.setdefault(code[:4], []).append(code)
    return headings


def false_codes(
    code: str, codes: Mapping[str, Sequence[str]], dice: np.random.Generator
) -> tuple[str | None, ...]:
    """Draw false codes: of another heading, of one of the same chapter, and of the same heading.

    First a heading, then one of its codes, each as probable as the others; None if there is none.

    Args:
        code: the right one.
        codes: to draw from, as `by_heading` returns them.
        dice: the source of chance.
    """
    others = [heading for heading in codes if heading != code[:4]]
    siblings = [heading for heading in others if heading[:2] == code[:2]]
    far, near = (
        _one(codes[_one(headings, dice)], dice) if headings else None
        for headings in (others, siblings)
    )
    same_heading = [other for other in codes[code[:4]] if other != code]
    return far, near, _one(same_heading, dice) if same_heading else None


def _one(items: Sequence[str], dice: np.random.Generator) -> str:
    return items[int(dice.integers(len(items)))]


def misdeclared(
    right: Sequence[float], far: Sequence[float], near: Sequence[float], sub: Sequence[float]
) -> dict[str, float | None]:
    """Return how well the risk separates false codes from right ones.

    The area under the ROC curve, and the share of the false ones whose risk is above that of all
    but 10 of 100 right ones. Where a row has no false code, its right one does not count either.

    Args:
        right: log-odds of the risk of each of N goods under its right code. Unit: nats.
        far: under a code of another heading (N,); NaN for none.
        near: under one of another heading of the same chapter (N,); NaN for none.
        sub: under another subheading of the same heading (N,); NaN for none.

    Returns:
        {"auc_far", "auc_near", "auc_sub", "recall_far_at_10", "recall_near_at_10",
        "recall_sub_at_10"}; None without false codes.
    """
    aucs: dict[str, float | None] = {}
    recalls: dict[str, float | None] = {}
    for name, of_kind in (("far", far), ("near", near), ("sub", sub)):
        drawn = ~np.isnan(of_kind)
        false, regular = np.array(of_kind)[drawn], np.array(right)[drawn]
        auc = recall = None
        if len(false):
            is_false = np.repeat([False, True], len(false))
            auc = float(roc_auc_score(is_false, np.concatenate([regular, false])))
            threshold = np.sort(regular)[-1 - len(regular) // FLAGGED]
            recall = float(np.mean(false > threshold))
        aucs[f"auc_{name}"], recalls[f"recall_{name}_at_10"] = auc, recall
    return aucs | recalls
