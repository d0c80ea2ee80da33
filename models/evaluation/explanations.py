"""Goods and declarations → how faithful explanations are to the model, for the release gate.

Faithfulness by deletion and insertion (Petsiuk et al., BMVC 2018): the risk's mean while words,
regions or pieces of evidence are taken away, or brought in, in the order of what they add to it,
beside random orders. Planted evidence that must come first (pointing game). And sanity (Adebayo et
al., NeurIPS 2018): the explanations of a model with shuffled parameters or labels must differ.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.datasets.goods import Goods, read
from models.evaluation.curves import mean_curves
from models.evaluation.explanation_trial import GOODS, Trial, has_order
from models.evaluation.shuffling import with_labels_shuffled, with_parameters_shuffled
from models.explanation.explainer import Explainer
from models.progress import Say
from models.risk.vagueness import is_read
from models.scoring.release_gate import JUDGED
from models.scoring.scorer import Scorer

FEW: Final = 40
"""Goods for the sanity checks."""
NAMING: Final = 0.9
"""Share of the goods with a word that are of one heading, where the word names them."""
OFTEN: Final = 20
"""Goods in the split train that such a word must occur in."""
SEED: Final = 7


def evaluate_explain(
    goods: Path,
    declarations: Path,
    bundle: Path,
    split: str = JUDGED,
    say: Say = print,
) -> dict[str, Any]:
    """Return the figures of the contract.

    Args:
        goods: folder of goods; its split train shows which words name goods. Those of which there
            is only a photo are left out.
        declarations: folder with train.csv, the past, and valid.csv.
        bundle: whose explanations are measured.
        split: of the goods that are explained.
        say: called with the progress.

    Returns:
        {"text" | "image" | "attributes": {"deletion_auc", "deletion_auc_random", "insertion_auc",
        "insertion_auc_random"}, "planted_word", "planted_object", "sanity":
        {"parameter_randomisation", "label_randomisation"}, "stable"}.

    Raises:
        BadCatalogue, BadDeclarations: a folder cannot be read.
        BadBundle: the bundle is incomplete or was changed.
    """
    # One thread: those of NumPy and of the encoders would keep each other waiting in turn.
    scorer = Scorer.load(bundle, threads=1)
    explainer = Explainer(scorer, bundle, threads=1)
    trial = Trial(scorer, explainer, np.random.default_rng(SEED))
    every = [item for item in read(goods, split, described=True) if is_read(item.description)]
    chosen = trial.dice.permutation(len(every))[:GOODS]
    asked = [every[int(place)] for place in chosen]
    names = naming(read(goods, "train", described=True))
    say("Taking words away")
    text = mean_curves([trial.text(item, every) for item in asked if has_order(item)])
    images = []
    for number, item in enumerate(asked):
        say("Taking regions away", number, len(asked))
        images.append(trial.image(item, every))
    say("Taking attributes away")
    attributes = mean_curves(list(trial.attributes(declarations)))
    say("Planting words and objects")
    words = [trial.planted_word(item, names) for item in asked]
    objects = [trial.planted_object(item, every) for item in asked]
    say("Shuffling the model")
    few = asked[:FEW]
    return {
        "text": text,
        "image": mean_curves(images),
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


def naming(goods: Sequence[Goods]) -> dict[str, list[str]]:
    """Return headings → the words that name their goods, and hardly any others."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in goods:
        for word in set(re.findall(r"[a-z]{3,}", item.description.lower())):
            counts[word][item.hs6[:4]] += 1
    names: defaultdict[str, list[str]] = defaultdict(list)
    for word, by_heading in sorted(counts.items()):
        heading, count = by_heading.most_common(1)[0]
        if count >= OFTEN and count / by_heading.total() >= NAMING:
            names[heading].append(word.upper())
    return dict(names)
