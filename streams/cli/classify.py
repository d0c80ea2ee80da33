"""Goods text and photo → candidate codes, for a person at a terminal."""

from pathlib import Path
from typing import Any, Final

from models.encoding.encoders import Encoders
from models.encoding.image import decode
from models.hs.classifier import modality
from models.hs.nomenclature import lines
from models.progress import Say
from models.scoring.bundle import verify
from models.scoring.scorer import load_hs
from models.training.bundle_builder import default_bundle
from models.vectors import best

CANDIDATES: Final = 5
WORDS: Final = 3


def classify_goods(text: str | None, image: Path | None, say: Say = print) -> dict[str, Any]:
    """Return candidates with their nomenclature texts, the 95 % set and what the photo shows.

    Args:
        text: goods description.
        image: a photo's file; text, photo or both must be given.
        say: told of progress.

    Raises:
        BadPhoto: the file is no photo that may be used.
        OSError: it cannot be read.
    """
    pixels = None if image is None else decode(image.read_bytes())
    bundle = default_bundle(say)
    verify(bundle)
    encoders, hs = Encoders(bundle), load_hs(bundle)
    read = None if text is None else encoders.embed_texts([text])[0]
    seen = None if pixels is None else encoders.embed_photos([pixels])[0]
    posterior = hs.posterior(read, seen)
    told = {line.hs6: line.texts[0] for line in reversed(lines())}
    places = best(posterior.probabilities, CANDIDATES)
    return {
        "candidates": [
            {
                "hs6": hs.codes[place],
                "probability": round(float(posterior.probabilities[place]), 4),
                "text": told[hs.codes[place]],
            }
            for place in places
        ],
        "set": list(hs.hs_set(modality(text=text is not None, photo=image is not None), posterior)),
        "familiar": round(posterior.gate_weight, 4),
        "shown": [] if seen is None else hs.nomenclature.words_of(seen, WORDS),
        "agreement": None if read is None or seen is None else round(hs.same_goods(read, seen), 4),
    }
