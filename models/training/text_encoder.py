"""Tunes the text encoder: goods by their codes, customs texts across four languages.

There are three aims at once. Goods texts of different trained codes lie apart. Texts of one
nomenclature line in English, French, Dutch and German, clipped as declarants clip, lie together; so
do goods texts and the nomenclature's texts of their code. An anchor to the embeddings before tuning
keeps the meaning of words that neither source has.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import EfficientNet_B0_Weights

from models.encoding.text import normalise
from models.hs.nomenclature import Line, without_exclusions
from models.networks.text_encoder import DIMENSION, PADDING, TextEncoder, packaged_tokenizer
from models.progress import Say

STEPS: Final = 1200
BATCH: Final = 96
LINES: Final = 64
"""Lines of the nomenclature in a batch, each worded twice."""
RATE: Final = 5e-4
DECAY: Final = 0.02
TEMPERATURE: Final = 0.05
"""Of cosines in the contrastive losses."""
ANCHOR: Final = 3.0
"""Weight of the distance from the pretrained encoder: 1 - cosine."""
DROPOUT: Final = 0.1
DROPPED_WORDS: Final = 0.15
MAX_TOKENS: Final = 32
"""While tuning; longer texts are cut off."""


def tune(
    goods: tuple[Sequence[str], NDArray[np.str_]],
    customs: Sequence[Line],
    out: Path,
    *,
    seed: int,
    steps: int = STEPS,
    say: Say = print,
) -> TextEncoder:
    """Tune the encoder and write its tuned weights, in half precision.

    Args:
        goods: descriptions and their HS6 codes (N,).
        customs: lines of the nomenclature, without held-out ones.
        out: safetensors.
        seed: of every choice.
        steps: how many batches.
        say: called with the progress.

    Returns:
        The tuned encoder.
    """
    torch.manual_seed(seed)
    dice = np.random.default_rng(seed)
    anchors = [normalise(word) for word in EfficientNet_B0_Weights.DEFAULT.meta["categories"]]
    tokenizer = packaged_tokenizer()
    encoder, before = TextEncoder(), TextEncoder()
    texts, codes = [normalise(text) for text in goods[0]], goods[1]
    names, labels = np.unique(codes, return_inverse=True)
    head = nn.Linear(DIMENSION, len(names))
    by_code: dict[str, list[Line]] = {}
    for line in customs:
        by_code.setdefault(line.hs6, []).append(line)
    parameters = [*encoder.parameters(), *head.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": encoder.parameters()},
        {"params": head.parameters(), "lr": 10 * RATE},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)
    rates = [RATE, 10 * RATE]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, steps, pct_start=0.1)

    def embed(batch: Sequence[str], model: TextEncoder = encoder) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            embeddings: Tensor = model(*_padded(tokenizer, batch))
        return embeddings.float()

    for step in range(steps):
        chosen = dice.integers(len(texts), size=BATCH)
        own = [thinned(texts[i], dice) for i in chosen]
        of_goods = embed(own)
        scores = head(20 * functional.dropout(of_goods, DROPOUT))
        right = torch.from_numpy(labels[chosen])
        loss = functional.cross_entropy(scores, right, label_smoothing=0.05)

        with_lines = [i for i, n in enumerate(chosen) if str(codes[n]) in by_code][: LINES // 2]
        lines_of = [by_code[str(codes[chosen[i]])] for i in with_lines]
        if with_lines:
            of_code = embed([_worded(lines[dice.integers(len(lines))], dice) for lines in lines_of])
            codes_of = [codes[chosen[i]] for i in with_lines]
            loss = loss + 0.5 * _contrast(of_goods[with_lines], of_code, codes_of)

        lines = [customs[i] for i in dice.integers(len(customs), size=LINES)]
        first, second = (embed([_worded(line, dice) for line in lines]) for _ in range(2))
        loss = loss + _contrast(first, second, [line.hs6 for line in lines])

        words = [anchors[i] for i in dice.integers(len(anchors), size=BATCH // 2)]
        anchored = [*own[: BATCH // 4], *words]
        with torch.no_grad():
            pretrained = embed(anchored, before)
        loss = loss + ANCHOR * (1 - (embed(anchored) * pretrained).sum(dim=1)).mean()

        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 10 == 0:
            say("Tuning the text encoder", step + 1, steps)
    save_file(encoder.tuned_state(), out)
    return encoder.eval()


def _contrast(first: Tensor, second: Tensor, codes: Sequence[str]) -> Tensor:
    """Return the loss that draws each pair together and away from pairs of other codes.

    Args:
        first: (N, D).
        second: (N, D).
        codes: of each pair.
    """
    scores = first @ second.T / TEMPERATURE
    _, groups = np.unique(np.array(codes), return_inverse=True)
    group = torch.from_numpy(groups)
    same = (group[:, None] == group[None, :]) & ~torch.eye(len(group), dtype=torch.bool)
    scores = scores.masked_fill(same, -1e4)  # other pairs of the same code do not count
    right = torch.arange(len(group))
    return (functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)) / 2


def _worded(line: Line, dice: np.random.Generator) -> str:
    """Return a line in any language: whole, without its exclusions, or only a part of it."""
    text = line.texts[dice.integers(len(line.texts))]
    if dice.random() < 0.7:  # noqa: PLR2004 - a share
        text = without_exclusions(text)
    text = normalise(text)
    if dice.random() < 0.5:  # noqa: PLR2004 - a share
        parts = text.replace(";", ",").split(",")
        start = int(dice.integers(len(parts))) if dice.random() < 0.3 else 0  # noqa: PLR2004
        text = ",".join(parts[start : start + int(dice.integers(1, 4))]).strip() or text
    return thinned(text, dice)


def thinned(text: str, dice: np.random.Generator) -> str:
    """Drop words at random, but not all."""
    words = text.split()
    remaining = [word for word in words if dice.random() > DROPPED_WORDS]
    return " ".join(remaining or words[:1])


def _padded(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return piece numbers and mask, (B, T) each."""
    rows = [encoded.ids[:MAX_TOKENS] for encoded in tokenizer.encode_batch(list(texts))]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), PADDING)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return ids, mask
