"""Heat maps as pictures."""

import io

import numpy as np
from PIL import Image

from models.encoding.image import PHOTO_SIZE
from models.explanation.heat_map import GRID, overlay


def test_a_heat_map_is_a_small_transparent_png():
    """What speaks for the declared heading is not coloured."""
    grid = -np.ones((GRID, GRID))
    grid[3, 3] = 2
    png = overlay(grid)
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    assert len(png) < 30_000
    assert picture.shape == (PHOTO_SIZE, PHOTO_SIZE, 4)
    assert picture[112, 112, 3] > 150
    assert picture[0, 0, 3] == 0
    assert overlay(np.zeros((GRID, GRID))) == overlay(-np.ones((GRID, GRID)))
