"""Stable reason codes: why a risk was raised, evidence is missing or an event was refused.

A code is part of the contract: never renamed, never given a second meaning.
"""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Reason codes of signals, degradations and dead letters."""

    # signals
    CODE_NOT_IN_TEXT = "code_not_in_text"
    CODE_NOT_IN_PHOTO = "code_not_in_photo"
    CODE_UNLIKELY = "code_unlikely"
    TEXT_PHOTO_DISAGREE = "text_photo_disagree"
    UNIT_PRICE_LOW = "unit_price_low"
    TEXT_VAGUE = "text_vague"
    PHOTO_REUSED = "photo_reused"
    CONSIGNMENT_SPLIT = "consignment_split"
    LIKE_PAST_IRREGULARITIES = "like_past_irregularities"
    # degradations
    PHOTO_ABSENT = "photo_absent"
    PHOTO_NOT_FOUND = "photo_not_found"
    PHOTO_UNAVAILABLE = "photo_unavailable"
    PHOTO_LOCATION_REFUSED = "photo_location_refused"
    PHOTO_TOO_LARGE = "photo_too_large"
    PHOTO_CHANGED = "photo_changed"
    PHOTO_FORMAT_REFUSED = "photo_format_refused"
    PHOTO_TOO_MANY_PIXELS = "photo_too_many_pixels"
    PHOTO_UNREADABLE = "photo_unreadable"
    PHOTOS_TOO_MANY = "photos_too_many"
    TEXT_ABSENT = "text_absent"
    PRICE_UNKNOWN = "price_unknown"
    SIGNALS_UNAVAILABLE = "signals_unavailable"
    CAPACITY_UNKNOWN = "capacity_unknown"
    # dead letters
    VALUE_EMPTY = "value_empty"
    VALUE_TOO_LARGE = "value_too_large"
    VALUE_NOT_AVRO = "value_not_avro"
    SCHEMA_UNKNOWN = "schema_unknown"
    DECLARATION_INVALID = "declaration_invalid"
    OUTCOME_INVALID = "outcome_invalid"
    SCREENING_FAILED = "screening_failed"


TEXTS: Final[dict[Reason, str]] = {
    Reason.CODE_NOT_IN_TEXT: "The goods text does not read like the declared code.",
    Reason.CODE_NOT_IN_PHOTO: "The photo does not look like the declared code.",
    Reason.CODE_UNLIKELY: "Text and photo together speak for another code than declared.",
    Reason.TEXT_PHOTO_DISAGREE: "The photo does not show what the goods text says.",
    Reason.UNIT_PRICE_LOW: "The unit price is far below that of comparable goods.",
    Reason.TEXT_VAGUE: "The goods text is too vague to classify.",
    Reason.PHOTO_REUSED: "The photo was used before, for goods of another heading.",
    Reason.CONSIGNMENT_SPLIT: "Consignments of small value together exceed the duty-free limit.",
    Reason.LIKE_PAST_IRREGULARITIES: "Inspections of such declarations often found irregularities.",
    Reason.PHOTO_ABSENT: "No photo was declared.",
    Reason.PHOTO_NOT_FOUND: "The photo is not where the declaration says.",
    Reason.PHOTO_UNAVAILABLE: "The object storage did not answer in time.",
    Reason.PHOTO_LOCATION_REFUSED: "The photo's location is not an allowed bucket.",
    Reason.PHOTO_TOO_LARGE: "The photo's file is larger than allowed.",
    Reason.PHOTO_CHANGED: "The photo is not the one that was declared: its hash differs.",
    Reason.PHOTO_FORMAT_REFUSED: "The photo is not a JPEG, PNG or WebP image.",
    Reason.PHOTO_TOO_MANY_PIXELS: "The photo has more pixels than allowed.",
    Reason.PHOTO_UNREADABLE: "The photo is damaged.",
    Reason.PHOTOS_TOO_MANY: "More photos were declared than are looked at.",
    Reason.TEXT_ABSENT: "No goods text was declared.",
    Reason.PRICE_UNKNOWN: "No unit price could be compared.",
    Reason.SIGNALS_UNAVAILABLE: "Other declarations and past inspections could not be looked up.",
    Reason.CAPACITY_UNKNOWN: "The lane is by fixed thresholds: the capacity was not known.",
    Reason.VALUE_EMPTY: "The event has no value.",
    Reason.VALUE_TOO_LARGE: "The event is larger than allowed.",
    Reason.VALUE_NOT_AVRO: "The event is not in the Confluent Avro format.",
    Reason.SCHEMA_UNKNOWN: "The event's schema id is not one of this topic's.",
    Reason.DECLARATION_INVALID: "The declaration breaks a rule of the contract.",
    Reason.OUTCOME_INVALID: "The inspection outcome breaks a rule of the contract.",
    Reason.SCREENING_FAILED: "Screening this declaration failed again and again.",
}
"""English text of each code, for a person."""
