"""One goods item's evidence → the share of each part in its risk.

Shares are of the risk's log-odds, and exact: a part is taken away just as the risk model itself
treats missing evidence.
"""

from functools import cached_property
from itertools import chain, product
from typing import Final

from models.explanation.shapley import owen
from models.hs.modalities import GoodsEmbeddings, ModalityPosteriors, modality_posteriors
from models.risk.kinds import EXTERNAL
from models.risk.model import log_ratios
from models.scoring.evidence import DeclarationEvidence, ItemContext
from models.scoring.scorer import Scorer

TEXT: Final = ("wording", "title")
IMAGE: Final = ("photo_use",)
TABULAR: Final = (
    "price", "history", "consignments", "code", "masses", "amount", "origin", "currency",
    "acceptance_time",
)  # fmt: skip
"""Evidence of EXTERNAL by its modality."""


class Attribution:
    """The shares of one goods item's evidence in its risk."""

    def __init__(self, scorer: Scorer, evidence: DeclarationEvidence, place: int) -> None:
        """Compute what each combination of text and photos says of the code.

        Args:
            scorer: whose risk is explained.
            evidence: of the declaration.
            place: of the goods item.
        """
        self.place = place
        self.evidence = item = evidence.items[place]
        self._scorer = scorer
        present = list(product({False, item.text is not None}, {False, bool(item.photos)}))
        posteriors = modality_posteriors(
            scorer.hs,
            [
                GoodsEmbeddings(
                    item.text if with_text else None,
                    item.photos if with_photos else (),
                    item.title if with_text else None,
                )
                for with_text, with_photos in present
            ],
        )
        self._posteriors = dict(zip(present, posteriors, strict=True))
        self.context: ItemContext = scorer.context(evidence, place, self.posteriors)
        self._log_ratios = log_ratios(self.context.likelihood_ratios)

    @property
    def posteriors(self) -> ModalityPosteriors:
        """What all text and photos say of the code."""
        return self._posteriors[self.evidence.text is not None, bool(self.evidence.photos)]

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The modalities present → the evidence in each."""
        present = {kind.evidence for kind in EXTERNAL if kind.name in self._log_ratios}
        text = ("text",) if self.evidence.text is not None else ()
        photo = ("photo",) if self.evidence.photos else ()
        groups = {
            "text": text + tuple(name for name in TEXT if name in present),
            "image": photo + tuple(name for name in IMAGE if name in present),
            "tabular": tuple(name for name in TABULAR if name in present),
        }
        return {name: players for name, players in groups.items() if players}

    @cached_property
    def shares(self) -> dict[str, float]:
        """Evidence → its share of the log-odds. Unit: nats."""
        return owen(self.groups, self._log_odds)

    @property
    def log_odds(self) -> float:
        """Log-odds of the risk, by all evidence. Unit: nats."""
        return self._log_odds(frozenset(chain.from_iterable(self.groups.values())))

    def _log_odds(self, present: frozenset[str]) -> float:
        return self._scorer.log_odds(
            self.evidence.item.commodity_code,
            self._posteriors["text" in present, "photo" in present],
            {
                kind.name: self._log_ratios[kind.name]
                for kind in EXTERNAL
                if kind.evidence in present
            },
        )
