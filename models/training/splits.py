"""What a training learns from, chooses on, and takes prices from.

Learned from is the split train of goods, and most texts; chosen on are the split valid and some
texts. The split test and the other texts are for `models.evaluation` alone.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.datasets.goods import Goods, read
from models.datasets.texts import (
    BadTexts,
    GoodsText,
    openly_licensed,
    to_choose_on,
    to_learn_from,
)
from models.datasets.texts import read as read_texts
from models.hs.nomenclature import lines


@dataclass(frozen=True, slots=True)
class Splits:
    """The goods to learn from."""

    learn: tuple[Goods, ...]
    """To be trained on and indexed: the split train."""
    held: tuple[Goods, ...]
    """To choose on: the split valid."""
    priced: tuple[Goods, ...]
    """For prices of comparable goods, and for unfamiliar goods."""
    texts: tuple[GoodsText, ...]
    """To be trained on and indexed: texts of files and of `learn`."""
    held_texts: tuple[GoodsText, ...]
    """To choose on: texts of files that are not learned from."""

    @property
    def trained_codes(self) -> list[str]:
        """Codes of the goods to train on, sorted."""
        return sorted({item.hs6 for item in self.learn})


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the data is."""

    goods: tuple[Path, ...]
    """Folders of goods with the splits train and valid."""
    texts: tuple[Path, ...]
    """CSV files of goods texts."""
    priced: Path
    """Folder of goods with prices and masses, for the peers and for unfamiliar goods."""
    open_only: bool = False
    """Leave out sources that are for research alone; the priced goods stay."""


def read_splits(data: Sources) -> Splits:
    """Read what to learn from; rows whose code the nomenclature lacks are left out.

    Raises:
        BadCatalogue: a folder of goods cannot be read.
        BadTexts: a file of texts cannot be read, or no goods or texts are left.
    """
    codes = {line.hs6 for line in lines()}

    def every(split: str) -> tuple[Goods, ...]:
        rows = chain.from_iterable(read(folder, split) for folder in data.goods)
        usable = openly_licensed(rows) if data.open_only else rows
        return tuple(item for item in usable if item.hs6 in codes)

    learn = every("train")
    texts = chain.from_iterable(read_texts(file) for file in data.texts)
    usable = openly_licensed(texts) if data.open_only else texts
    rows = [row for row in usable if row.hs6 in codes]
    if not learn or not rows:
        raise BadTexts("No goods or no texts are left to learn from, by code and licence.")
    held_texts = list(to_choose_on(rows))
    random.Random(0).shuffle(held_texts)  # noqa: S311
    return Splits(
        learn, every("valid"), read(data.priced), to_learn_from(rows, learn), tuple(held_texts)
    )


def folder_weights(goods: Sequence[Goods]) -> NDArray[np.float64]:
    """Return weights of goods (N,) by which each folder counts the same, however many it has."""
    counts = Counter(item.image.parent for item in goods)
    return np.array([1 / counts[item.image.parent] for item in goods])
