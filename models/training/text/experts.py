"""Goods texts of known code → three experts that name every code by text.

text.safetensors     the tuned part of the text encoder
ngrams.safetensors   vectors of n-grams: table int8 (BUCKETS, 128), scale float16 (BUCKETS, 1)
heads.safetensors    the layer of each that scores the codes, `meaning` and `ngrams`:
                     weight int8 (C, D), scale float16 (C, 1), bias float16 (C,)
texts.safetensors    past texts

The layer of meaning reads the embedding times `models.hs.text_experts.MEANING_FACTOR`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.datasets.texts import BadTexts, GoodsText
from models.encoding import ngrams as hashing
from models.hs.exemplars import Projection
from models.hs.nomenclature import lines
from models.hs.text_experts import HEADS, TEXTS, past_texts
from models.networks import ngrams as network
from models.networks.quantisation import quantised
from models.progress import Say
from models.training import wording
from models.training.embeddings import Embedder
from models.training.pretrained import PACKAGED, TUNED_TEXT, tuned_state
from models.training.text import course, loss, ngrams
from models.training.text import encoder as meaning

FILES: Final = (TUNED_TEXT, hashing.FILE, HEADS)
AXES: Final = 64
"""Numbers that are kept of the meaning of a past text."""
MADE_FROM: Final = "made_from"
"""Key of each file's metadata with the hash of what it was learned from."""
LEARNED_BY: Final = (hashing, network, course, meaning, loss, ngrams, wording)
"""Modules whose constants decide what is learned."""


def learn(
    texts: Sequence[GoodsText],
    codes: Sequence[str],
    out: Path,
    *,
    encoder: str = PACKAGED,
    seed: int,
    say: Say = print,
) -> None:
    """Train both experts and write their files: for 170,000 texts minutes on a GPU, else hours.

    A training that was cut short goes on after its last epoch: what is in the folder, and was
    learned from the same texts in the same way, is not learned again.

    Args:
        texts: to learn from; those whose code is not among `codes` are left out.
        codes: of the nomenclature (C,), in the order of the heads' rows.
        out: folder for the files.
        encoder: name of the text encoder, as `models.training.pretrained.text_encoder` takes it.
        seed: of every choice.
        say: called with the progress.

    Raises:
        BadTexts: no text is left.
        BadEncoder: the encoder cannot be loaded.
    """
    places = {code: place for place, code in enumerate(codes)}
    inside = [text for text in texts if text.hs6 in places]
    if not inside:
        raise BadTexts("No text to learn from has a code of the nomenclature.")
    worded = [text.text for text in inside]
    labels = np.array([places[text.hs6] for text in inside])
    made_from = _hash([encoder, worded, labels.tolist(), list(codes), seed])
    metadata = {MADE_FROM: made_from}
    heads = _finished(out, "meaning", TUNED_TEXT, metadata)
    if not heads:
        kept = out / "meaning.unfinished"
        tuned, head = meaning.tune(
            encoder, worded, labels, codes, seed=seed, kept=kept, made_from=made_from, say=say
        )
        save_file(tuned_state(tuned), out / TUNED_TEXT, metadata=metadata)
        heads = _stored("meaning", head)
        save_file(heads, out / HEADS, metadata=metadata)
    if not _finished(out, "ngrams", hashing.FILE, metadata):
        kept = out / "ngrams.unfinished"
        trained = ngrams.train(
            worded, labels, codes, seed=seed, kept=kept, made_from=made_from, say=say
        )
        trained.save(out / hashing.FILE, metadata)
        save_file(heads | _stored("ngrams", trained.head), out / HEADS, metadata=metadata)


def index(embedder: Embedder, texts: Sequence[GoodsText], codes: Sequence[str], out: Path) -> None:
    """Index past texts of codes (C,), sorted, so that goods worded alike are found: `TEXTS`."""
    embedded = embedder.embedded_texts(texts)
    projection = Projection.fitted(embedded.meanings, AXES)
    places = np.searchsorted(codes, embedded.codes)
    save_arrays(past_texts(places, embedded.meanings, projection), out / TEXTS)


def every_code() -> tuple[str, ...]:
    """Return the subheadings of the nomenclature (C,), sorted: those that the experts name."""
    return tuple(sorted({line.hs6 for line in lines()}))


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
