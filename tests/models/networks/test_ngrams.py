"""The network over n-grams: how texts are embedded, and what is stored."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from models.encoding.ngrams import BUCKETS
from models.encoding.text import NGRAMS
from models.networks.ngrams import PADDING, NgramNetwork


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return NgramNetwork(5).eval()


def test_a_text_is_the_sum_of_its_ngrams_over_the_root_of_their_number(network):
    """Padding does not count; a text of none is zero."""
    grams = torch.tensor([[3, 9, PADDING], [7, PADDING, PADDING], [PADDING] * 3])
    vectors = network.table.weight
    expected = torch.stack([(vectors[3] + vectors[9]) / 2**0.5, vectors[7], torch.zeros(NGRAMS)])
    assert torch.allclose(network.embed(grams), expected, atol=1e-6)
    assert network(grams).shape == (3, 5)


def test_padding_stays_zero_under_training(network):
    network(torch.tensor([[3, PADDING]])).sum().backward()
    assert not network.table.weight.grad[PADDING].any()
    assert network.table.weight.grad[3].any()


def test_vectors_are_stored_in_8_bits_with_a_scale_for_each(network, tmp_path):
    """Within half a step of what they were; the padding is left out."""
    network.save(tmp_path / "ngrams", {"made_from": "x"})
    stored = load_file(tmp_path / "ngrams")
    assert (stored["table"].dtype, stored["scale"].dtype) == (torch.int8, torch.float16)
    scale = stored["scale"].float()
    error = (stored["table"].float() * scale - network.table.weight[:BUCKETS].detach()).abs()
    assert (error <= 0.51 * scale).all()
    with safe_open(tmp_path / "ngrams", "pt") as file:
        assert file.metadata() == {"made_from": "x"}
