"""Tunes a text encoder on goods texts of known code, of any code of the nomenclature.

A linear layer over the embeddings names the codes, and is the expert of meaning. Each epoch words
every text anew, as declarants might. An anchor to the embeddings before tuning keeps the meaning of
ImageNet's words, by which photos are compared with texts.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import EfficientNet_B0_Weights

from models.encoding.text import normalise
from models.hs.text_experts import MEANING_FACTOR
from models.networks.text_encoder import PADDING
from models.progress import Say
from models.training.pretrained import PACKAGED, text_encoder
from models.training.text.course import Course, usable_device
from models.training.text.loss import CodeLoss
from models.training.wording import declared

EPOCHS: Final = 7
BATCH: Final = 512
WORDS: Final = 32
"""ImageNet's words in a batch."""
RATE: Final = 6e-4
TRANSFORMER_RATE: Final = 5e-5
"""Of a model of transformers."""
HEAD_RATE: Final = 4e-3
DECAY: Final = 0.02
SHARPNESS: Final = float(MEANING_FACTOR)
"""The layer reads embeddings, whose length is 1, times this; so it does when it serves."""
ANCHOR: Final = 1.0
"""Weight of the distance from the pretrained encoder: 1 - cosine."""
DROPOUT: Final = 0.1
MAX_TOKENS: Final = 48
"""While tuning; longer texts are cut off."""


def tune(
    name: str,
    texts: Sequence[str],
    labels: NDArray[np.int64],
    codes: Sequence[str],
    *,
    seed: int,
    kept: Path,
    made_from: str,
    epochs: int = EPOCHS,
    say: Say = print,
) -> tuple[nn.Module, nn.Linear]:
    """Tune an encoder, on a GPU if there is one.

    Args:
        name: of the encoder, as `models.training.pretrained.text_encoder` takes it.
        texts: (N,), as written.
        labels: (N,), the places of their codes in `codes`.
        codes: HS6 codes (C,).
        seed: of every choice.
        kept: file for what is learned so far.
        made_from: hash of all inputs.
        epochs: rounds over the texts.
        say: called with the progress.

    Returns:
        The tuned encoder, and the layer that scores the codes of SHARPNESS * embedding.

    Raises:
        BadEncoder: the encoder cannot be loaded.
    """
    torch.manual_seed(seed)
    device = usable_device()
    encoder, tokenizer = text_encoder(name)
    tokenizer.enable_truncation(MAX_TOKENS)
    encoder.to(device)
    loss_of_scores = CodeLoss(codes, device)
    right = torch.from_numpy(labels).to(device)
    named = [normalise(word) for word in EfficientNet_B0_Weights.DEFAULT.meta["categories"]]
    words = _tokens(tokenizer, named, device)
    with torch.no_grad():
        pretrained = encoder.eval()(*words.padded(torch.arange(len(words))))
    encoder.train()
    head = nn.Linear(pretrained.shape[1], len(codes)).to(device)

    def epoch(dice: np.random.Generator) -> Callable[[Tensor], Tensor]:
        tokens = _tokens(tokenizer, [declared(text, dice) for text in texts], device)

        def loss(chosen: Tensor) -> Tensor:
            anchors = torch.randint(len(words), (WORDS,))
            with torch.autocast(device.type, torch.bfloat16):
                embeddings = encoder(*tokens.padded(chosen))
                of_words = encoder(*words.padded(anchors))
                scores = head(SHARPNESS * functional.dropout(embeddings.float(), DROPOUT))
            nearness = (of_words.float() * pretrained[anchors.to(device)]).sum(dim=1)
            of_codes = loss_of_scores(scores, right[chosen.to(device)])
            total: Tensor = of_codes + ANCHOR * (1 - nearness).mean()
            return total

        return loss

    course = Course("Tuning the text encoder", epochs, BATCH, DECAY, seed, kept, made_from)
    rate = RATE if name == PACKAGED else TRANSFORMER_RATE
    groups = [
        {"params": list(encoder.parameters()), "lr": rate},
        {"params": list(head.parameters()), "lr": HEAD_RATE},
    ]
    course.run(len(texts), groups, epoch, encoder.parameters(), say=say)
    return encoder.cpu().eval(), head.cpu()


class _Tokens:
    """Texts as word pieces."""

    def __init__(self, ids: Tensor, lengths: Tensor) -> None:
        self._ids = ids  # (N, T)
        self._lengths = lengths  # (N,)

    def __len__(self) -> int:
        return len(self._ids)

    def padded(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids and mask of some texts, as long as the longest of them: (B, T) each."""
        chosen = chosen.to(self._ids.device)
        lengths = self._lengths[chosen]
        longest = int(lengths.max())
        mask = torch.arange(longest, device=lengths.device)[None, :] < lengths[:, None]
        return self._ids[chosen, :longest].long(), mask.long()


def _tokens(tokenizer: Tokenizer, texts: Sequence[str], device: torch.device) -> _Tokens:
    rows = [encoded.ids for encoded in tokenizer.encode_batch(list(texts))]
    ids = np.full((len(rows), MAX_TOKENS), PADDING, np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    lengths = torch.tensor([len(row) for row in rows])
    return _Tokens(torch.from_numpy(ids).to(device), lengths.to(device))
