"""Stable reason codes: why a risk was raised, evidence is missing or an event was refused.

A code is part of the contract: never renamed, never given a second meaning.
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final


class Reason(StrEnum):
    """Reason codes of signals, changes, degradations and dead letters."""

    # signals
    CODE_NOT_IN_TEXT = "code_not_in_text"
    CODE_NOT_IN_PHOTO = "code_not_in_photo"
    CODE_UNLIKELY = "code_unlikely"
    CODE_UNKNOWN = "code_unknown"
    TEXT_PHOTO_DISAGREE = "text_photo_disagree"
    TEXT_TITLE_DISAGREE = "text_title_disagree"
    UNIT_PRICE_LOW = "unit_price_low"
    TEXT_VAGUE = "text_vague"
    MASSES_IMPLAUSIBLE = "masses_implausible"
    AMOUNT_IMPLAUSIBLE = "amount_implausible"
    ORIGIN_UNKNOWN = "origin_unknown"
    CURRENCY_UNKNOWN = "currency_unknown"
    PHOTO_REUSED = "photo_reused"
    CONSIGNMENT_SPLIT = "consignment_split"
    LIKE_PAST_IRREGULARITIES = "like_past_irregularities"
    ACCEPTANCE_TIME_IMPLAUSIBLE = "acceptance_time_implausible"
    # single changes that an explanation tells of
    GREEN_WITH_SUGGESTED_CODE = "green_with_suggested_code"
    GREEN_WITH_FITTING_PHOTO = "green_with_fitting_photo"
    GREEN_WITH_FITTING_TEXT = "green_with_fitting_text"
    GREEN_WITH_USUAL_PRICE = "green_with_usual_price"
    GREEN_AS_SINGLE_CONSIGNMENT = "green_as_single_consignment"
    # degradations
    PHOTO_ABSENT = "photo_absent"
    PHOTO_NOT_FOUND = "photo_not_found"
    PHOTO_UNAVAILABLE = "photo_unavailable"
    PHOTO_LOCATION_REFUSED = "photo_location_refused"
    PHOTO_TOO_LARGE = "photo_too_large"
    PHOTO_CHANGED = "photo_changed"
    PHOTO_FORMAT_REFUSED = "photo_format_refused"
    PHOTO_TOO_MANY_PIXELS = "photo_too_many_pixels"
    PHOTO_HEIC = "photo_heic"
    PHOTO_UNREADABLE = "photo_unreadable"
    PHOTO_TRUNCATED = "photo_truncated"
    PHOTOS_TOO_MANY = "photos_too_many"
    TEXT_ABSENT = "text_absent"
    TITLE_READ_INSTEAD = "title_read_instead"
    PRICE_UNKNOWN = "price_unknown"
    EXCHANGE_RATE_OUTDATED = "exchange_rate_outdated"
    SIGNALS_UNAVAILABLE = "signals_unavailable"
    CAPACITY_UNKNOWN = "capacity_unknown"
    # degradations of an explanation
    DECLARATION_GONE = "declaration_gone"
    EXPLAINED_BY_ANOTHER_BUNDLE = "explained_by_another_bundle"
    EXPLAINED_BRIEFLY = "explained_briefly"
    # dead letters
    VALUE_EMPTY = "value_empty"
    VALUE_TOO_LARGE = "value_too_large"
    VALUE_NOT_AVRO = "value_not_avro"
    SCHEMA_UNKNOWN = "schema_unknown"
    DECLARATION_INVALID = "declaration_invalid"
    OUTCOME_INVALID = "outcome_invalid"
    SCREENING_FAILED = "screening_failed"
    RESULT_TOO_LARGE = "result_too_large"
    # dead letters of customs messages
    MESSAGE_NOT_XML = "message_not_xml"
    MESSAGE_NOT_JSON = "message_not_json"
    MESSAGE_UNKNOWN = "message_unknown"
    MESSAGE_INVALID = "message_invalid"
    AMENDMENT_UNMATCHED = "amendment_unmatched"
    # dead letters of deliveries to case management
    DELIVERY_REFUSED = "delivery_refused"


LANGUAGES: Final = ("en", "fr", "nl", "de")
"""English, French, Dutch and German (ISO 639-1)."""


def _load() -> dict[str, dict[Reason, str]]:
    texts = tomllib.loads((Path(__file__).parent / "reasons.toml").read_text(encoding="utf-8"))
    return {
        language: {reason: texts[reason][language] for reason in Reason} for language in LANGUAGES
    }


TEXTS_IN: Final[Mapping[str, Mapping[Reason, str]]] = _load()
"""LANGUAGES → text of each code, for a person."""
TEXTS: Final = TEXTS_IN["en"]
