"""Two paths, one answer: torch and ONNX."""

import numpy as np
import torch
from transformers import AutoTokenizer

from models import export
from models.encoders import Encoders
from models.image import PHOTO_SIZE, normalised


def test_text_is_embedded_alike_by_torch_and_onnx(bundle):
    """Within rounding, short and long."""
    encoders = Encoders(bundle, threads=1)
    tokenizer = AutoTokenizer.from_pretrained(export.default_text_model())
    model = export.TextEncoder(str(export.default_text_model()))
    for text in ("laptop", "running shoes with a mesh upper and an outer sole of rubber " * 4):
        tokens = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        with torch.no_grad():
            expected = model(tokens["input_ids"], tokens["attention_mask"])[0].numpy()
        np.testing.assert_allclose(encoders.embed_texts([text])[0], expected, atol=1e-5)


def test_photos_are_embedded_alike_by_torch_and_onnx(bundle):
    """Within rounding, on noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (PHOTO_SIZE, PHOTO_SIZE, 3), np.uint8)
    with torch.no_grad():
        expected = export.ImageEncoder()(torch.tensor(normalised(pixels)[None]))[0].numpy()
    (found,) = Encoders(bundle, threads=1).embed_photos([pixels])
    np.testing.assert_allclose(found, expected, atol=1e-4)
