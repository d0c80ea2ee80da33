"""One goods item's evidence → the single changes that would bring its declaration to green."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from models.explanation.attribution import Attribution
from models.hs.editions import current
from models.hs.modalities import ModalityPosteriors
from models.risk.attributes import histories
from models.risk.kinds import NO_GOODS_NAMED, OTHER_TITLE, PHOTO_REUSE, UNDERVALUATION
from models.risk.likelihoods import LikelihoodRatio
from models.risk.model import log_ratios
from models.scoring.evidence import DeclarationEvidence, Verdict
from models.scoring.scorer import DIGITS, Scorer
from schemas.reasons import Reason
from schemas.records import GoodsItem, Signal

IN_PHOTO: Final = (
    "photo_heading",
    "both_heading",
    "photo_subheading",
    "both_subheading",
    "agreement",
    "overlap",
)
IN_TEXT: Final = (
    "text_heading",
    "both_heading",
    "text_subheading",
    "both_subheading",
    "agreement",
    "overlap",
    "text_certainty",
)
"""Features that another photo, or text, would change."""


class Counterfactuals:
    """What would make a declaration green, if one thing were otherwise in one goods item."""

    def __init__(
        self, scorer: Scorer, evidence: DeclarationEvidence, attribution: Attribution
    ) -> None:
        self._scorer = scorer
        self._evidence = evidence
        self._attribution = attribution
        self._place = attribution.place
        self._item = attribution.evidence.item
        self._ratios = attribution.context.likelihood_ratios

    def changes(
        self, verdict: Verdict, posteriors: Sequence[ModalityPosteriors], suggested: str
    ) -> Iterator[Signal]:
        """Yield the single changes that bring the declaration below the yellow threshold.

        Args:
            verdict: on the declaration as it is.
            posteriors: of the codes of each of its goods items.
            suggested: the likeliest code (HS6); empty for none.
        """
        yellow = self._scorer.thresholds.yellow
        risk_now = verdict.items[self._place].risk
        if risk_now < yellow:
            return
        before = self._attribution.log_odds
        unchanged = self._risks_of_others(verdict)
        changes = [
            *((*change, unchanged) for change in self._with_fitting_evidence()),
            *(
                (reason, words, *self._rescored(evidence, posteriors))
                for reason, words, evidence in self._declared_otherwise(suggested)
            ),
        ]
        for reason, words, after, other_risks in changes:
            risk = 1 / (1 + math.exp(-after))
            if max(risk, *other_risks, 0.0) < yellow:
                change = f"{words}: " if words else ""
                yield Signal(
                    code=reason,
                    weight=round(after - before, DIGITS),
                    detail=f"{change}risk {risk_now:.0%} → {risk:.0%}",
                )

    def _with_fitting_evidence(self) -> Iterator[tuple[Reason, str, float]]:
        """Yield changes of this item's photo and text: code, words, and the log-odds after each."""
        if self._attribution.evidence.photos:
            never_used = {
                kind: ratio for kind, ratio in self._ratios.items() if kind != PHOTO_REUSE.name
            }
            yield Reason.GREEN_WITH_FITTING_PHOTO, "", self._log_odds(never_used, usual=IN_PHOTO)
        if self._attribution.evidence.text is not None or NO_GOODS_NAMED.name in self._ratios:
            worded = {
                kind: ratio
                for kind, ratio in self._ratios.items()
                if kind not in {NO_GOODS_NAMED.name, OTHER_TITLE.name}
            }
            yield Reason.GREEN_WITH_FITTING_TEXT, "", self._log_odds(worded, usual=IN_TEXT)

    def _declared_otherwise(
        self, suggested: str
    ) -> Iterator[tuple[Reason, str, DeclarationEvidence]]:
        """Yield changes of what is declared: code, words, and the evidence with each."""
        item, evidence, peers = self._item, self._evidence, self._attribution.context.peers
        price = self._ratios.get(UNDERVALUATION.name)
        declared = current(item.commodity_code)
        if suggested and declared and not declared.startswith(suggested):
            changed = self._under(suggested)
            # Where no price under that code is known, a price that counts against the goods now
            # cannot be called usual.
            has_peers = self._scorer.peers(changed, self._place) is not None
            if has_peers or price is None or price.log_ratio <= 0:
                words = f"{item.commodity_code} → {suggested}"
                yield Reason.GREEN_WITH_SUGGESTED_CODE, words, changed
        if price is not None and peers is not None and item.net_mass:
            usual = math.exp(peers.median)
            amount = round(Decimal(str(usual)) * item.net_mass, 2)
            words = f"{usual:.2f} EUR/kg"
            changed = self._with(replace(item, item_amount=amount))
            yield Reason.GREEN_WITH_USUAL_PRICE, words, changed
        live = evidence.live
        if live is not None and live.small_count:
            alone = replace(live, small_count=0, small_value=0.0, importer_day=0, seller_day=0)
            yield Reason.GREEN_AS_SINGLE_CONSIGNMENT, "", replace(evidence, live=alone)

    def _under(self, code: str) -> DeclarationEvidence:
        """Return the evidence under another code, without what is known only of the declared one.

        The trader's past and earlier uses of the photo stay; the price is compared anew.
        """
        changed = self._with(replace(self._item, commodity_code=code))
        live = self._evidence.live
        if live is None:
            return changed
        keys = histories(self._attribution.context.attributes)
        changed_keys = histories(self._scorer.attributes(changed, self._place))
        signals = list(live.items)
        rates = {
            name: rate
            for name, rate in signals[self._place].rates.items()
            if keys.get(name) == changed_keys.get(name)
        }
        signals[self._place] = replace(signals[self._place], price=None, rates=rates)
        return replace(changed, live=replace(live, items=tuple(signals)))

    def _with(self, item: GoodsItem) -> DeclarationEvidence:
        """Return the evidence of a declaration with this item instead."""
        items = list(self._evidence.items)
        items[self._place] = replace(self._attribution.evidence, item=item)
        declaration = self._evidence.declaration
        goods_items = tuple(
            item if declared.sequence_number == item.sequence_number else declared
            for declared in declaration.goods_items
        )
        declaration = replace(declaration, goods_items=goods_items)
        return replace(self._evidence, declaration=declaration, items=tuple(items))

    def _rescored(
        self, evidence: DeclarationEvidence, posteriors: Sequence[ModalityPosteriors]
    ) -> tuple[float, list[float]]:
        """Return the log-odds of this item with other evidence, and the risks of the others."""
        contexts = self._scorer.contexts(evidence, posteriors)
        verdict = self._scorer.verdict(evidence, contexts, posteriors)
        log_odds = self._log_odds(
            contexts[self._place].likelihood_ratios,
            code=evidence.items[self._place].item.commodity_code,
        )
        return log_odds, self._risks_of_others(verdict)

    def _risks_of_others(self, verdict: Verdict) -> list[float]:
        return [item.risk for place, item in enumerate(verdict.items) if place != self._place]

    def _log_odds(
        self,
        ratios: Mapping[str, LikelihoodRatio],
        *,
        code: str | None = None,
        usual: Sequence[str] = (),
    ) -> float:
        return self._scorer.log_odds(
            code or self._item.commodity_code,
            self._attribution.posteriors,
            log_ratios(ratios),
            usual,
        )
