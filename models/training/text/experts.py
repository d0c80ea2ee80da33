"""Goods texts of known code → two experts that name every code by text: of meaning, of n-grams.

text.safetensors     the tuned part of the text encoder
ngrams.safetensors   vectors of n-grams: table int8 (BUCKETS, 128), scale float16 (BUCKETS, 1)
heads.safetensors    the layer of each that scores the codes, `meaning` and `ngrams`:
                     weight int8 (C, D), scale float16 (C, 1), bias float16 (C,)

The layer of meaning reads the embedding times `models.hs.text_experts.MEANING_FACTOR`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.datasets.texts import BadTexts, GoodsText
from models.encoding import ngrams as hashing
from models.hs.text_experts import HEADS
from models.networks import ngrams as network
from models.networks.quantisation import quantised
from models.progress import Say
from models.training.pretrained import TUNED_TEXT
from models.training.text import course, encoder, loss, ngrams, wording

FILES: Final = (TUNED_TEXT, hashing.FILE, HEADS)
MADE_FROM: Final = "made_from"
"""Key of each file's metadata with the hash of what it was learned from."""
LEARNED_BY: Final = (hashing, network, course, encoder, loss, ngrams, wording)
"""Modules whose constants decide what is learned."""


def learn(
    texts: Sequence[GoodsText], codes: Sequence[str], out: Path, *, seed: int, say: Say = print
) -> None:
    """Train both experts and write their files: for 170,000 texts minutes on a GPU, else hours.

    A training that was cut short goes on: an expert whose file is in the folder, and was learned
    from the same texts in the same way, is not trained again.

    Args:
        texts: to learn from; those whose code is not among `codes` are left out.
        codes: of the nomenclature (C,), in the order of the heads' rows.
        out: folder for the files.
        seed: of every choice.
        say: called with the progress.

    Raises:
        BadTexts: no text is left.
    """
    places = {code: place for place, code in enumerate(codes)}
    inside = [text for text in texts if text.hs6 in places]
    if not inside:
        raise BadTexts("No text to learn from has a code of the nomenclature.")
    worded = [text.text for text in inside]
    labels = np.array([places[text.hs6] for text in inside])
    made_from = {MADE_FROM: _hash([worded, labels.tolist(), list(codes), seed])}
    heads = _finished(out, "meaning", TUNED_TEXT, made_from)
    if not heads:
        tuned, head = encoder.tune(worded, labels, codes, seed=seed, say=say)
        save_file(tuned.tuned_state(), out / TUNED_TEXT, metadata=made_from)
        heads = _stored("meaning", head)
        save_file(heads, out / HEADS, metadata=made_from)
    if not _finished(out, "ngrams", hashing.FILE, made_from):
        trained = ngrams.train(worded, labels, codes, seed=seed, say=say)
        trained.save(out / hashing.FILE, made_from)
        save_file(heads | _stored("ngrams", trained.head), out / HEADS, metadata=made_from)


def _stored(expert: str, head: nn.Linear) -> dict[str, Tensor]:
    """Return a head as it is stored: its weights in 8 bits."""
    weight, scale = quantised(head.weight)
    bias = head.bias.detach().half().cpu()
    return {f"{expert}.weight": weight, f"{expert}.scale": scale, f"{expert}.bias": bias}


def _finished(out: Path, expert: str, name: str, made_from: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the stored head of an expert whose files are in a folder, learned from the same."""
    for file in (out / name, out / HEADS):
        if not file.exists():
            return {}
        with safe_open(file, "pt") as opened:
            if opened.metadata() != made_from:
                return {}
    return {key: value for key, value in load_file(out / HEADS).items() if key.startswith(expert)}


def _hash(inputs: Sequence[object]) -> str:
    """Return the hash of inputs and of the constants that decide what is learned from them."""
    constants = [
        (module.__name__, name, value)
        for module in LEARNED_BY
        for name, value in sorted(vars(module).items())
        if name.isupper()
    ]
    return hashlib.sha256(repr((inputs, constants)).encode()).hexdigest()
