"""When a declaration was accepted: as it declares, within bounds of when it arrived. Pure.

The declared time is evidence, like all that is declared. What must not be chosen by who declares
(the order of declarations, windows of time, which risk profiles are in force) goes by arrival.
"""

from datetime import datetime, timedelta
from typing import Final

from schemas.records import EPOCH

AHEAD: Final = timedelta(days=1)
"""So far a clock may be ahead, or a local time be taken for UTC."""
BEHIND: Final = timedelta(days=60)
"""So long a supplementary declaration may take: it follows within ten days of the period that it
sums up, at most a month (Art. 146 of Delegated Regulation (EU) 2015/2446)."""


def is_plausible(declared: datetime, arrived: datetime) -> bool:
    """Return whether a declaration that arrived then may have been accepted when it says."""
    return -BEHIND <= declared - arrived <= AHEAD


def accepted(declared: datetime, arrived: datetime | None) -> datetime:
    """Return the time whose duties apply: the declared one, else the time of arrival.

    Args:
        declared: acceptance time; EPOCH where there is none.
        arrived: None where it is unknown; then every declared time is taken.
    """
    if arrived is None or is_plausible(declared, arrived):
        return declared
    return arrived


def words(declared: datetime, arrived: datetime) -> str:
    """Return an implausible time in words."""
    text = "no acceptance time declared" if declared == EPOCH else f"accepted {_minute(declared)}"
    return f"{text}, arrived {_minute(arrived)}"


def _minute(at: datetime) -> str:
    return at.isoformat(timespec="minutes").removesuffix("+00:00") + "Z"
