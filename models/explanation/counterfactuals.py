"""One goods item's evidence → the share of each part in its risk, and what would change it.

Shares are of the risk's log-odds, exact, with a part's evidence taken away as the risk model
itself does where it is missing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Final

from models.explanation.shapley import owen
from models.risk.attributes import histories
from models.risk.likelihoods import LikelihoodRatio
from models.risk.model import EVIDENCE_KINDS, ModalityPosteriors, modality_posteriors
from models.scoring.scorer import DIGITS, DeclarationEvidence, Scorer, Verdict
from models.vectors import Array
from schemas.reasons import Reason
from schemas.records import GoodsItem, PricePeers, Signal

Z95: Final = 1.96
"""95 of 100 values of a normal distribution lie within so many standard deviations."""
TABULAR: Final = ("price", "history", "consignments")
"""Those of EVIDENCE_KINDS that are no part of the image."""
NAMES: Final = {(True, True): "both", (True, False): "text", (False, True): "image"}
"""Whether text and photo are heard → the name in models.hs.classifier.EVIDENCE_KINDS."""
IN_PHOTO: Final = ("photo_heading", "both_heading", "agreement", "overlap")
IN_TEXT: Final = ("text_heading", "both_heading", "agreement", "overlap", "text_certainty")
"""Features that another photo, or text, would change."""


class Counterfactuals:
    """One goods item, and what its evidence says."""

    def __init__(self, scorer: Scorer, evidence: DeclarationEvidence, place: int) -> None:
        self._scorer = scorer
        self._evidence = evidence
        self.place = place
        self.one = evidence.items[place]
        self._told = scorer.told(evidence, place)
        self._peers = scorer.peers(evidence, place)
        one, hs = self.one, scorer.hs
        photos: tuple[Array | None, ...] = one.photos or (None,)
        near = [hs.similar(one.text, photo) for photo in photos]
        self._beliefs = {
            (run_experts, see): modality_posteriors(
                hs,
                one.text if run_experts else None,
                one.photos if see else (),
                [near_one.of(NAMES[run_experts, see]) for near_one in near]
                if run_experts or see
                else (),
            )
            for run_experts in {False, one.text is not None}
            for see in {False, bool(one.photos)}
        }

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The modalities present → the evidence that each consists of."""
        there = {name for name, kind in EVIDENCE_KINDS.items() if kind in self._told}
        text = ("text",) if self.one.text is not None else ()
        photo = ("photo",) if self.one.photos else ()
        found = {
            "text": text,
            "image": photo + tuple(there & {"photo_use"}),
            "tabular": tuple(name for name in TABULAR if name in there),
        }
        return {name: players for name, players in found.items() if players}

    @cached_property
    def shares(self) -> dict[str, float]:
        """Evidence → its share of the log-odds. Unit: nats."""
        return owen(self.groups, self._log_odds)

    def _log_odds(self, there: frozenset[str]) -> float:
        posteriors = self._beliefs["text" in there, "photo" in there]
        ratios = self._ratios(self._told)
        told = {
            EVIDENCE_KINDS[name]: ratios[EVIDENCE_KINDS[name]]
            for name in EVIDENCE_KINDS
            if name in there
        }
        return self._scorer.log_odds(self.one.item.commodity_code, posteriors, told)

    def detail(self, name: str) -> str:
        """Return a piece of evidence in words: the price against its peers, say."""
        if name == "price" and (one := self.price_peers) is not None:
            return (
                f"unit price {one.unit_price:.2f} EUR/kg; "
                f"95 % of {one.count} peers {one.low:.2f}–{one.high:.2f}"
            )
        return self._told[EVIDENCE_KINDS[name]].words

    @property
    def price_peers(self) -> PricePeers | None:
        """The unit price among its peers; None where one or the other is not known."""
        item, peers = self.one.item, self._peers
        if peers is None or "undervaluation" not in self._told:
            return None
        if item.item_amount is None or item.net_mass is None:
            return None
        reach = Z95 * peers.spread
        return PricePeers(
            unit_price=float(item.item_amount) / float(item.net_mass),
            low=math.exp(peers.median - reach),
            median=math.exp(peers.median),
            high=math.exp(peers.median + reach),
            count=peers.count,
        )

    def duty_difference(self, suggested: str) -> Decimal | None:
        """Return the duty under the suggested code less the one declared. Unit: EUR.

        None where a duty or the value is not known, or the declared code is of the suggested one.
        """
        item, tariff = self.one.item, self._evidence.tariff
        if not suggested or item.commodity_code.startswith(suggested):
            return None
        if item.item_amount is None or item.item_currency != "EUR":
            return None
        at = self._evidence.declaration.acceptance_time
        rates = [
            tariff.duty(code, item.country_of_origin, at)
            for code in (suggested, item.commodity_code)
        ]
        if rates[0] is None or rates[1] is None:
            return None
        return round(item.item_amount * Decimal(str(rates[0] - rates[1])) / 100, 2)

    def changes(
        self, verdict: Verdict, posteriors: Sequence[ModalityPosteriors], suggested: str
    ) -> Iterator[Signal]:
        """Yield the single changes that bring the declaration below the yellow threshold.

        Args:
            verdict: on the declaration as it is.
            posteriors: what text and photos say of each of its goods items.
            suggested: the likeliest code (HS6); empty for none.
        """
        yellow = self._scorer.thresholds.yellow
        now = verdict.items[self.place].risk
        if now < yellow:
            return
        others = [one.risk for place, one in enumerate(verdict.items) if place != self.place]
        before = self._log_odds(frozenset(one for some in self.groups.values() for one in some))
        changed = [
            *((*change, others) for change in self._put_right()),
            *(
                (reason, words, *self._judged(evidence, posteriors))
                for reason, words, evidence in self._declared_otherwise(suggested)
            ),
        ]
        for reason, words, after, the_rest in changed:
            risk = 1 / (1 + math.exp(-after))
            if max(risk, *the_rest, 0.0) < yellow:
                told = f"{words}: " if words else ""
                yield Signal(
                    code=reason,
                    weight=round(after - before, DIGITS),
                    detail=f"{told}risk {now:.0%} → {risk:.0%}",
                )

    def _put_right(self) -> Iterator[tuple[Reason, str, float]]:
        """Yield changes of what this item alone shows: code, words, and the log-odds after each."""
        if self.one.photos:
            kept = {kind: one for kind, one in self._told.items() if kind != "photo_reuse"}
            yield Reason.GREEN_WITH_FITTING_PHOTO, "", self._after(kept, usual=IN_PHOTO)
        if self.one.text is not None:
            yield Reason.GREEN_WITH_FITTING_TEXT, "", self._after(self._told, usual=IN_TEXT)

    def _declared_otherwise(
        self, suggested: str
    ) -> Iterator[tuple[Reason, str, DeclarationEvidence]]:
        """Yield changes of what is declared: code, words, and the evidence with each."""
        item, evidence = self.one.item, self._evidence
        if suggested and not item.commodity_code.startswith(suggested):
            changed = self._under(suggested)
            speaks = self._told.get("undervaluation")
            # Where no price under that code is known, one that tells against the goods now cannot
            # be said to be usual.
            known = self._scorer.peers(changed, self.place) is not None
            if known or speaks is None or speaks.log_ratio <= 0:
                words = f"{item.commodity_code} → {suggested}"
                yield Reason.GREEN_WITH_SUGGESTED_CODE, words, changed
        if "undervaluation" in self._told and self._peers is not None and item.net_mass:
            usual = math.exp(self._peers.median)
            amount = round(Decimal(str(usual)) * item.net_mass, 2)
            words = f"{usual:.2f} EUR/kg"
            changed = self._with(replace(item, item_amount=amount))
            yield Reason.GREEN_WITH_USUAL_PRICE, words, changed
        live = evidence.live
        if live is not None and live.small_count:
            alone = replace(live, small_count=0, small_value=0.0, importer_day=0, seller_day=0)
            yield Reason.GREEN_AS_SINGLE_CONSIGNMENT, "", replace(evidence, live=alone)

    def _under(self, code: str) -> DeclarationEvidence:
        """Return the evidence under another code: what is known of the declared one is not of it.

        The trader's past and earlier uses of the photo stay; the price is compared anew.
        """
        item, live = self.one.item, self._evidence.live
        changed = self._with(replace(item, commodity_code=code))
        if live is None:
            return changed
        keys = [
            histories(self._scorer.attributes(evidence, self.place))
            for evidence in (self._evidence, changed)
        ]
        signals = list(live.items)
        rates = {
            name: rate
            for name, rate in signals[self.place].rates.items()
            if keys[0].get(name) == keys[1].get(name)
        }
        signals[self.place] = replace(signals[self.place], price=None, rates=rates)
        return replace(changed, live=replace(live, items=tuple(signals)))

    def _with(self, item: GoodsItem) -> DeclarationEvidence:
        """Return the evidence of a declaration with this item instead."""
        items = list(self._evidence.items)
        items[self.place] = replace(self.one, item=item)
        declaration = replace(
            self._evidence.declaration, goods_items=tuple(one.item for one in items)
        )
        return replace(self._evidence, declaration=declaration, items=tuple(items))

    def _judged(
        self, evidence: DeclarationEvidence, posteriors: Sequence[ModalityPosteriors]
    ) -> tuple[float, list[float]]:
        """Return the log-odds of this item with other evidence, and the risks of the others."""
        verdict = self._scorer.verdict(evidence, posteriors)
        told = self._scorer.told(evidence, self.place)
        after = self._after(told, code=evidence.items[self.place].item.commodity_code)
        return after, [one.risk for place, one in enumerate(verdict.items) if place != self.place]

    def _after(
        self,
        told: Mapping[str, LikelihoodRatio],
        *,
        code: str | None = None,
        usual: Sequence[str] = (),
    ) -> float:
        return self._scorer.log_odds(
            code or self.one.item.commodity_code, self.posteriors, self._ratios(told), usual
        )

    @property
    def posteriors(self) -> ModalityPosteriors:
        """What all text and photos say."""
        return self._beliefs[self.one.text is not None, bool(self.one.photos)]

    @staticmethod
    def _ratios(told: Mapping[str, LikelihoodRatio]) -> dict[str, float]:
        return {kind: one.log_ratio for kind, one in told.items()}
