"""A bundle on goods that it has not seen → figures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.bundle import default_bundle, sha256
from models.catalogue import read
from models.encoders import Encoders
from models.hs import Array, HsModel
from models.scorer import load_hs
from models.train import embed

TOPS = (1, 3, 5)


def evaluate_hs(
    goods: Path, split: str, say: Callable[[str], None] = print
) -> dict[str, dict[str, float]]:
    """Return accuracy over the whole nomenclature by modality.

    Args:
        goods: folder of goods.
        split: of it; text is `description`, never the title.
        say: told of progress.

    Returns:
        {"text" | "image" | "both": {"top1", "top3", "top5"}}, fractions.
    """
    bundle = default_bundle(say)
    key = sha256(bundle / "text.onnx") + sha256(bundle / "image.onnx")
    seen = embed(read(goods, split), Encoders(bundle), key, say)
    hs = load_hs(bundle)
    place = {code: number for number, code in enumerate(hs.codes)}
    ranks: dict[str, list[int]] = {"text": [], "image": [], "both": []}
    for code, text, photo in zip(seen.codes, seen.texts, seen.photos, strict=True):
        for modality, probabilities in _each(hs, text, photo).items():
            ranks[modality].append(int((probabilities > probabilities[place[code]]).sum()))
    return {
        modality: {f"top{k}": float(np.mean(np.array(found) < k)) for k in TOPS}
        for modality, found in ranks.items()
    }


def _each(hs: HsModel, text: Array, photo: Array) -> dict[str, Array]:
    by_text, by_photo = hs.from_text(text), hs.from_photo(photo)
    both = hs.fused(by_text, by_photo)
    single = {"text": by_text.probabilities, "image": by_photo.probabilities}
    return single | ({} if both is None else {"both": both})
