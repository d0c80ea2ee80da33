"""The users of the console, and what they may do."""

from dataclasses import dataclass
from typing import Final

ROLES: Final = ("viewer", "inspector", "supervisor")
"""From least to most rights. Viewers only look; supervisors may act on others' cases too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user with a role."""

    id: str
    name: str
    role: str
    """One of ROLES; empty if they may not even look."""

    @property
    def looks(self) -> bool:
        """Whether they may see cases."""
        return self.role in ROLES

    @property
    def inspects(self) -> bool:
        """Whether they may act on cases."""
        return self.role in ROLES[1:]

    @property
    def supervises(self) -> bool:
        """Whether they may act on others' cases."""
        return self.role == ROLES[-1]
