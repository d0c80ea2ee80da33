"""Tokens that prove that a form comes from our own page."""

import hashlib
import hmac
import secrets
import time
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from streams.console.state.tables import SECRETS, Database
from streams.console.state.users import User

DAY_S: Final = 86_400


class Tokens:
    """Proof that a form is from our own page: bound to the user, for a day or two."""

    def __init__(self, database: Database) -> None:
        """Take the key from the database, so that it outlives restarts and is every replica's."""
        with database.reading() as connection:
            key = connection.execute(_KEY).scalar()
        if key is None:
            try:
                with database.writing() as (connection, _):
                    connection.execute(
                        insert(SECRETS).values(name="csrf", value=secrets.token_hex())
                    )
            except IntegrityError:
                pass  # another replica was faster
            with database.reading() as connection:
                key = connection.execute(_KEY).scalar_one()
        self._key = str(key).encode()

    def give(self, user: User) -> str:
        """Return a token for the user's forms."""
        return self._token(user, int(time.time() // DAY_S))

    def holds(self, user: User, token: str) -> bool:
        """Tell whether a form's token is the user's and not too old."""
        day = int(time.time() // DAY_S)
        return any(
            hmac.compare_digest(token.encode(), self._token(user, day - age).encode())
            for age in (0, 1)
        )

    def _token(self, user: User, day: int) -> str:
        return hmac.new(self._key, f"{day}|{user.id}".encode(), hashlib.sha256).hexdigest()


_KEY: Final = select(SECRETS.c.value).where(SECRETS.c.name == "csrf")
