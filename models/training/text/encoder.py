"""Tunes the text encoder on goods texts of known code, of any code of the nomenclature.

A linear layer over the embeddings names the codes, and is the expert of meaning. Each epoch words
every text anew, as declarants might. An anchor to the embeddings before tuning keeps the meaning of
ImageNet's words, by which photos are compared with texts.
"""

from collections.abc import Callable, Sequence
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
from models.networks.text_encoder import DIMENSION, PADDING, TextEncoder, packaged_tokenizer
from models.progress import Say
from models.training.text.course import Course, usable_device
from models.training.text.loss import CodeLoss
from models.training.text.wording import declared

EPOCHS: Final = 7
BATCH: Final = 512
WORDS: Final = 32
"""ImageNet's words in a batch."""
RATE: Final = 6e-4
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
    texts: Sequence[str],
    labels: NDArray[np.int64],
    codes: Sequence[str],
    *,
    seed: int,
    epochs: int = EPOCHS,
    say: Say = print,
) -> tuple[TextEncoder, nn.Linear]:
    """Tune the encoder, on a GPU if there is one.

    Args:
        texts: (N,), as written.
        labels: (N,), the places of their codes in `codes`.
        codes: HS6 codes (C,).
        seed: of every choice.
        epochs: rounds over the texts.
        say: called with the progress.

    Returns:
        The tuned encoder, and the layer that scores the codes of SHARPNESS * embedding.
    """
    torch.manual_seed(seed)
    dice = np.random.default_rng(seed)
    device = usable_device()
    tokenizer = packaged_tokenizer()
    tokenizer.enable_truncation(MAX_TOKENS)
    encoder = TextEncoder().to(device).train()
    head = nn.Linear(DIMENSION, len(codes)).to(device)
    loss_of_scores = CodeLoss(codes, device)
    right = torch.from_numpy(labels).to(device)
    named = [normalise(word) for word in EfficientNet_B0_Weights.DEFAULT.meta["categories"]]
    words = _tokens(tokenizer, named, device)
    with torch.no_grad():
        pretrained = encoder(*words.padded(torch.arange(len(words))))

    def epoch() -> Callable[[Tensor], Tensor]:
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

    course = Course("Tuning the text encoder", epochs, BATCH, DECAY)
    groups = [
        {"params": list(encoder.parameters()), "lr": RATE},
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
