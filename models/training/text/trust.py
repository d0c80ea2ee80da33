"""Texts that the experts did not learn from → trust.json: how far to trust each, and the sets.

An expert that has seen a source is surer of its texts than of any others. So sources are left out,
some at a time; the experts are trained anew without them, and asked for their texts. Held-back
texts of sources that the experts know stand beside them: most texts will be of either sort.
"""

import json
import random
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.datasets.texts import BadTexts, GoodsText
from models.hs import conformal
from models.hs.text_experts import Answers, TextExperts, Trust
from models.progress import Say
from models.training import bundle_builder
from models.training.embeddings import Embedder
from models.training.pretrained import PACKAGED
from models.training.text import experts

FILE: Final = "trust.json"
LEFT_OUT: Final = (
    frozenset({"import_declarations"}),
    frozenset({"uk_fpo", "flipkart", "oscar", "thelia", "magento", "broadleaf"}),
    frozenset({"uk_index"}),
    frozenset({"fashion", "grocery", "ikea"}),
)
"""Sources that are left out together, because their goods or their wording are alike."""
NOT_DECLARED: Final = frozenset(
    {"llm_hs6_examples", "llm_uk_labels", "us_hts2025", "cn2023", "grocery"}
)
"""Sources worded as no declarant would: official, synthetic, names of classes."""
MOST: Final = 600
"""Texts of one source that are asked for."""
FEWEST: Final = 60
"""The same; a source of fewer says too little of its kind."""
PENALTY: Final = 1e-3
"""On the squared weights of the temperature."""
ROUNDS: Final = 150
"""Most steps of the fit, each with a line search."""
UNSURE: Final = Trust(0.5, 0.5, 10.0, (0.0,) * 7)
"""Where the fit begins."""
ASKED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Examples:
    """Answers for texts whose code is known."""

    answers: Answers  # (N, C) each
    right: NDArray[np.int64]  # (N,): places of their codes
    weights: NDArray[np.float64]  # (N,): each source the same, seen or unseen, however many texts

    @classmethod
    def of(cls, parts: Sequence[Self]) -> Self:
        """Put examples together."""
        answers = (np.concatenate(said) for said in zip(*(p.answers for p in parts), strict=True))
        return cls(
            Answers(*answers),
            np.concatenate([part.right for part in parts]),
            np.concatenate([part.weights for part in parts]),
        )


def learn(
    texts: Sequence[GoodsText],
    held: Sequence[GoodsText],
    embedder: Embedder,
    artifacts: Path,
    work: Path,
    *,
    encoder: str = PACKAGED,
    seed: int,
    say: Say = print,
) -> None:
    """Learn trust and sets, and write them: one training of the experts for each of LEFT_OUT.

    Args:
        texts: that the experts of `artifacts` learned from.
        held: of the same sources, but not learned from.
        embedder: of a bundle with these experts.
        artifacts: folder of the experts and their past texts; the file goes there.
        work: folder for the experts that learn without some sources. They stay, so that a training
            that was cut short goes on.
        encoder: name of the text encoder, as `models.training.pretrained.text_encoder` takes it.
        seed: of every choice.
        say: called with the progress.

    Raises:
        BadTexts: there are too few texts.
    """
    codes = experts.every_code()
    parts = [_asked(artifacts, embedder, codes, chosen) for chosen in _by_source(held, seed)]
    folds = [fold for fold in LEFT_OUT if any(text.source in fold for text in texts)]
    for number, fold in enumerate(folds):
        say(f"Training without {', '.join(sorted(fold))} ({number + 1} of {len(folds)})")
        left_out = [text for text in texts if text.source in fold]
        others = [text for text in texts if text.source not in fold]
        folder = work / f"without-{number + 1}"
        embedder_without = _experts_of(others, codes, folder, encoder=encoder, seed=seed, say=say)
        parts += [
            _asked(folder, embedder_without, codes, chosen) for chosen in _by_source(left_out, seed)
        ]
    if not parts:
        raise BadTexts(f"No source has {FEWEST} texts to learn from whom to trust.")
    say("Learning how far to trust the experts of text")
    examples = Examples.of(parts)
    trust = fitted(examples)
    least = conformal.fitted(
        codes,
        np.exp(trust.joined(examples.answers)),
        [codes[place] for place in examples.right],
        examples.weights,
    )
    content = json.dumps({**asdict(trust), "least": least}, indent=2)
    (artifacts / FILE).write_text(content + "\n")


def fitted(examples: Examples) -> Trust:
    """Return the trust by which the right codes are the most probable (L-BFGS on the log-loss)."""
    answers = [torch.from_numpy(said) for said in examples.answers]
    features = torch.from_numpy(examples.answers.features())
    right = torch.from_numpy(examples.right)[:, None]
    share = torch.from_numpy(examples.weights / examples.weights.sum()).float()
    weights = torch.tensor([UNSURE.meaning, UNSURE.ngrams, UNSURE.past_texts], requires_grad=True)
    certainty = torch.tensor(UNSURE.certainty, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, certainty], max_iter=ROUNDS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = sum(weight * said for weight, said in zip(weights, answers, strict=True))
        joined = torch.log_softmax(total * torch.exp(features @ certainty)[:, None], dim=1)
        of_right = joined.gather(1, right)[:, 0]
        value = -(of_right * share).sum() + PENALTY * (certainty**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    meaning, ngrams, past_texts, *temperature = (
        round(weight, 6) for weight in torch.cat([weights, certainty]).tolist()
    )
    return Trust(meaning, ngrams, past_texts, tuple(temperature))


def _by_source(texts: Iterable[GoodsText], seed: int) -> list[list[GoodsText]]:
    """Choose some texts of each source that declarants might have worded."""
    by_source = defaultdict(list)
    for text in texts:
        if text.source not in NOT_DECLARED:
            by_source[text.source].append(text)
    dice = random.Random(seed)  # noqa: S311 - not for secrets
    return [
        dice.sample(of_source, min(MOST, len(of_source)))
        for _, of_source in sorted(by_source.items())
        if len(of_source) >= FEWEST
    ]


def _experts_of(
    texts: Sequence[GoodsText],
    codes: Sequence[str],
    folder: Path,
    *,
    encoder: str,
    seed: int,
    say: Say,
) -> Embedder:
    """Train experts, index their texts, and return what embeds for them."""
    folder.mkdir(parents=True, exist_ok=True)
    experts.learn(texts, codes, folder, encoder=encoder, seed=seed, say=say)
    (folder / "model.json").write_text(
        json.dumps({"encoders": {"text": encoder, "image": PACKAGED}})
    )
    bundle = folder / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir()
    bundle_builder.build(bundle, folder, say=say)
    embedder = Embedder.of(bundle, say)
    experts.index(embedder, texts, codes, folder)
    return embedder


def _asked(
    folder: Path, embedder: Embedder, codes: Sequence[str], texts: Sequence[GoodsText]
) -> Examples:
    """Ask the experts of a folder for texts of one source."""
    asked = TextExperts.load(folder, UNSURE)
    vectors = embedder.embedded_texts(texts).texts
    answers = [
        asked.answers(vectors[start : start + ASKED_AT_ONCE])
        for start in range(0, len(texts), ASKED_AT_ONCE)
    ]
    return Examples(
        Answers(*(np.concatenate(said) for said in zip(*answers, strict=True))),
        np.searchsorted(codes, [text.hs6 for text in texts]),
        np.full(len(texts), 1 / len(texts)),
    )
