"""Tokens that prove that a form comes from our own page."""

import secrets
import time
from typing import Final

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from streams.console.state.tables import SECRETS, Database
from streams.console.state.users import User

DAY_S: Final = 86_400
KEY: Final = select(SECRETS.c.value).where(SECRETS.c.name == "csrf")


class Tokens:
    """Signs a user's forms and checks them: a token holds on its day (UTC) and the next."""

    def __init__(self, database: Database) -> None:
        """Sign with the key in the database: it outlives restarts, and all replicas share it."""
        self._serializer = URLSafeTimedSerializer(_key(database), salt="csrf", signer=_DaySigner)

    def give(self, user: User) -> str:
        """Return a token for the user's forms."""
        return self._serializer.dumps(user.id)

    def holds(self, user: User, token: str) -> bool:
        """Tell whether a form's token is the user's and not too old."""
        try:
            user_id: str = self._serializer.loads(token, max_age=DAY_S)
        except BadData:
            return False
        return user_id == user.id


class _DaySigner(TimestampSigner):
    """Dates by the day.

    Pages replace the parts that changed, so a part must not change by its token alone.
    """

    def get_timestamp(self) -> int:
        return int(time.time()) // DAY_S * DAY_S


def _key(database: Database) -> str:
    """Return the key of the signatures, which the first replica makes."""
    with database.reading() as connection:
        key = connection.execute(KEY).scalar()
    if key is None:
        try:
            with database.writing() as (connection, _):
                connection.execute(insert(SECRETS).values(name="csrf", value=secrets.token_hex()))
        except IntegrityError:
            pass  # another replica was faster
        with database.reading() as connection:
            key = connection.execute(KEY).scalar_one()
    return str(key)
