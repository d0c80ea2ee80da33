"""The tabular risk model on a later period → its figures."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from models.datasets.declarations import read
from models.datasets.history import replay
from models.evaluation.calibration import calibration_error
from models.progress import Say
from models.training.tabular_risk import fit
from models.vectors import Array


def evaluate_risk(folder: Path, *, seed: int = 7, say: Say = print) -> dict[str, float]:
    """Train on FOLDER/train.csv and judge FOLDER/valid.csv once.

    The model knows no outcome of the valid period: it judges by the outcomes up to the end of the
    training period, and by the prices declared since.

    Returns:
        Precision among the riskiest 5 and 10 of 100, area under the ROC curve, expected calibration
        error; and the share of the frauds' revenue that is recovered by inspecting the 10 of 100
        with the most expected revenue, risk times duty. Fractions.

    Raises:
        BadDeclarations: the folder cannot be read.
    """
    train, valid = read(folder, "train"), read(folder, "valid")
    fitted, history = fit(train, seed=seed, say=say)
    say("Judging the later period")
    features = replay(valid, history, outcomes=lambda _: False)
    risk = fitted.probabilities(features)
    irregular = np.array([row.irregular for row in valid])
    revenue = np.array([row.revenue for row in valid])

    def inspected(score: Array, share: float) -> Any:
        return np.argsort(-score, kind="stable")[: int(share * len(score))]

    lost = revenue * irregular
    caught = float(lost[inspected(risk * revenue, 0.10)].sum())
    return {
        "p_at_5": float(irregular[inspected(risk, 0.05)].mean()),
        "p_at_10": float(irregular[inspected(risk, 0.10)].mean()),
        "auc": float(roc_auc_score(irregular, risk)),
        "ece": calibration_error(risk, irregular),
        "revenue_at_10": caught / max(float(lost.sum()), 1e-9),
    }
