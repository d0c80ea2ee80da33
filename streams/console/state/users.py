"""Who looks at the console's pages, and what they may do."""

from dataclasses import dataclass
from typing import Final

ROLES: Final = ("viewer", "inspector", "supervisor")
"""The weakest first. A viewer only looks; a supervisor may also act on others' cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who looks at a page."""

    id: str
    name: str
    role: str
    """One of ROLES; empty for somebody who may not even look."""

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
