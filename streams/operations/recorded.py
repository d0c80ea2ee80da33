"""A screening record → what stands for the services when its declaration is screened again."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from decimal import Decimal

from models.risk.exchange import ExchangeRates, Quote
from models.risk.signals import LiveSignals
from models.risk.tariff import ANY_GOODS, VAT, VAT_TYPE, Goods, Tariff
from models.scoring.scorer import Scorer
from models.selection.policy import Thresholds
from models.selection.profiles import Matcher
from schemas.reasons import Reason
from schemas.records import (
    Declaration,
    ImageReference,
    PhotoFate,
    RiskProfile,
    ScreeningRecord,
    UsedThresholds,
)
from streams.evidence.embedding import Embedder
from streams.evidence.gatherer import Gatherer
from streams.evidence.observations import Observation
from streams.evidence.photos import NoPhoto, Photo, PhotoSource
from streams.evidence.signals import read_signals
from streams.operations.assess import NoCache
from streams.reference.state import Snapshot
from streams.selection.lanes import LaneDecision, LaneRequest, Lanes


class NotAsRecorded(Exception):  # noqa: N818 - says what it is
    """A record does not fit its declaration, or is of another version."""


class RecordedTariff(Tariff):
    """Tells the duties that were looked up, and no others."""

    def __init__(self, record: ScreeningRecord) -> None:
        self._duties = {
            (duty.commodity_code, duty.country_of_origin, duty.goods): duty.duty_rate
            for duty in record.duties
            if duty.measure_type != VAT_TYPE
        }
        self._vat = {
            duty.commodity_code: duty.duty_rate
            for duty in record.duties
            if duty.measure_type == VAT_TYPE
        }

    def duty(
        self,
        code: str,
        origin: str,
        at: datetime,  # noqa: ARG002 - as then
        goods: Goods = ANY_GOODS,
    ) -> float | None:
        """See `Tariff.duty`."""
        whatever_goods = self._duties.get((code, origin, ""))
        return self._duties.get((code, origin, str(goods)), whatever_goods)

    def depends_on_goods(self, code: str) -> bool:
        """See `Tariff.depends_on_goods`."""
        return any(goods for other, _, goods in self._duties if other == code)

    def vat(self, code: str, at: datetime) -> float:  # noqa: ARG002 - as then
        """See `Tariff.vat`."""
        return self._vat.get(code, VAT)


class RecordedRates(ExchangeRates):
    """Tells the rates that were used, and no others."""

    def __init__(self, record: ScreeningRecord) -> None:
        self._quotes = {
            used.currency: Quote(Decimal(used.rate), used.since, used.valid)
            for used in record.rates
        }

    def quote(self, currency: str, at: datetime) -> Quote | None:  # noqa: ARG002 - as then
        """See `ExchangeRates.quote`."""
        return self._quotes.get(currency)


class RecordedMatcher(Matcher):
    """Returns the profiles that matched."""

    def __init__(self, record: ScreeningRecord) -> None:
        self._matched = [
            RiskProfile(profile_id=each.profile_id, version=each.version, lane=each.lane)
            for each in record.profiles
        ]

    def matching(self, declaration: Declaration, arrived: datetime) -> list[RiskProfile]:  # noqa: ARG002 - as then
        """See `Matcher.matching`."""
        return self._matched


class RecordedSignals:
    """Returns the signals that were recorded, and remembers nothing."""

    def __init__(self, live: LiveSignals | None) -> None:
        self._live = live

    async def gather(self, observations: Sequence[Observation]) -> list[LiveSignals | None]:
        """See `SignalSource.gather`."""
        return [self._live] * len(observations)

    async def remember(self, assessed: Iterable[tuple[Observation, float]]) -> None:
        """See `streams.stages.screen.Memory`."""


class RecordedPhotos:
    """Fetches the photos that were there then, and misses those that were not."""

    def __init__(self, fates: dict[ImageReference, PhotoFate], photos: PhotoSource) -> None:
        self._fates = fates
        self._photos = photos
        self.gone: list[str] = []
        """What is not as it was, for a person."""

    async def fetch(self, reference: ImageReference) -> Photo | NoPhoto:
        """See `PhotoSource.fetch`."""
        fate = self._fates[reference]
        if fate.code:
            return NoPhoto(Reason(fate.code), fate.detail)
        photo = await self._photos.fetch(reference)
        if isinstance(photo, NoPhoto):
            self.gone.append(f"a photo is not there any more: {photo.reason}")
        elif photo.sha256 != (fate.sha256 or reference.sha256.lower()):
            self.gone.append("a photo is another one now")
        return photo


class RecordedLanes(Lanes):
    """Decides by the thresholds that were in force."""

    def __init__(self, thresholds: UsedThresholds, *, unknown: bool, key: bytes) -> None:
        self._thresholds = Thresholds(
            yellow=thresholds.yellow,
            red=thresholds.red,
            random=thresholds.random,
            yellow_tie=thresholds.yellow_tie,
            red_tie=thresholds.red_tie,
        )
        self._unknown = unknown
        self._secret = key

    async def decide(self, requests: Sequence[LaneRequest]) -> list[LaneDecision]:
        """See `Lanes.decide`."""
        return [
            LaneDecision(
                self._thresholds.decide(
                    request.declaration.declaration_id,
                    request.risk,
                    request.profiles,
                    key=self._secret,
                ),
                self._unknown,
                self._thresholds,
                request.profiles,
            )
            for request in requests
        ]


def photo_fates(
    declaration: Declaration, record: ScreeningRecord
) -> dict[ImageReference, PhotoFate]:
    """Return what became of each photo.

    Raises:
        NotAsRecorded: there are more, or fewer, than the declaration has, or a reason is unknown.
    """
    references = [
        reference
        for item in declaration.goods_items
        for reference in item.images[: record.photos_per_item]
    ]
    if len(references) != len(record.photos):
        raise NotAsRecorded("its record has another number of photos")
    if not {photo.code for photo in record.photos} <= {"", *Reason}:
        raise NotAsRecorded("its photos were recorded by another version")
    return dict(zip(references, record.photos, strict=True))


def recorded_signals(declaration: Declaration, record: ScreeningRecord) -> LiveSignals | None:
    """Return the signals; None where they were unavailable.

    Raises:
        NotAsRecorded: they are not as this version records them.
    """
    if not record.signals:
        return None
    try:
        return read_signals(record.signals, items=len(declaration.goods_items))
    except ValueError as error:
        raise NotAsRecorded("its signals were recorded by another version") from error


def recorded_lanes(record: ScreeningRecord, key: bytes) -> RecordedLanes:
    """Return what decides on the lane, with the key of random selections.

    Raises:
        NotAsRecorded: no thresholds are recorded, or none that can be.
    """
    if record.thresholds is None:
        raise NotAsRecorded("its record has no thresholds")
    try:
        return RecordedLanes(record.thresholds, unknown=record.capacity_unknown, key=key)
    except ValueError as error:
        raise NotAsRecorded("its thresholds contradict each other") from error


def gatherer(
    record: ScreeningRecord,
    *,
    photos: RecordedPhotos,
    signals: RecordedSignals,
    scorer: Scorer,
    executor: Executor,
) -> Gatherer:
    """Return what gathers the evidence anew: every text and photo is embedded afresh."""
    return Gatherer(
        photos=photos,
        embedder=Embedder(scorer, NoCache(), executor),
        signals=signals,
        photos_per_item=record.photos_per_item,
        now=lambda: datetime.fromtimestamp(record.read_at, UTC),
    )


def snapshot(record: ScreeningRecord) -> Snapshot:
    """Return the reference data, as far as they were used.

    Raises:
        NotAsRecorded: a rate is no number.
    """
    try:
        rates = RecordedRates(record)
    except ArithmeticError as error:
        raise NotAsRecorded("a rate of its record is no number") from error
    return Snapshot((), RecordedMatcher(record), RecordedTariff(record), rates)
