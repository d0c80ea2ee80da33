"""Risk → lane."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Lanes by fixed thresholds on the declaration's calibrated risk."""

    yellow: float
    """Least risk of the yellow lane (documents). Fraction."""
    red: float
    """Least risk of the red lane (goods). Fraction."""

    def lane(self, risk: float) -> str:
        """Return green, yellow or red."""
        if risk >= self.red:
            return "red"
        return "yellow" if risk >= self.yellow else "green"
