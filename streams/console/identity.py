"""The OIDC proxy's headers → who it is and what they may do. Nobody else's headers are believed."""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from streams.console.tables import SECRETS, Database
from streams.settings import Settings

ROLES: Final = ("viewer", "inspector", "supervisor")
"""The weakest first. A viewer only looks; a supervisor may also act on others' cases."""
MAX_NAME: Final = 120
DAY_S: Final = 86_400


class Misconfigured(Exception):  # noqa: N818 - says what it is
    """The console would trust nobody, or everybody."""


class Untrusted(Exception):  # noqa: N818 - says what it is
    """The request does not come from the proxy, or names nobody."""


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


class Identity:
    """Tells who a request is from."""

    def __init__(self, settings: Settings, *, host: str, demo_user: str | None) -> None:
        """Take the settings; `host` is what the console listens on.

        Raises:
            Misconfigured: nothing says which proxy to trust; or a demo user would be everybody on
                the network.
        """
        self._secret = settings.console_proxy_secret.get_secret_value()
        self._secret_header = settings.console_proxy_secret_header
        self._headers = (
            settings.console_user_header,
            settings.console_name_header,
            settings.console_groups_header,
        )
        self._roles = settings.console_roles
        self._demo = None if demo_user is None else _demo(demo_user, host)
        try:
            self._networks = [
                ipaddress.ip_network(one.strip()) for one in settings.console_proxy_addresses
            ]
        except ValueError as error:
            raise Misconfigured(f"REDLANE_CONSOLE_PROXY_ADDRESSES: {error}") from error
        if self._demo is None and not self._secret and not self._networks:
            raise Misconfigured(
                "Set REDLANE_CONSOLE_PROXY_SECRET or REDLANE_CONSOLE_PROXY_ADDRESSES, so that only "
                "the OIDC proxy's headers are believed; on your own machine use --demo-user NAME."
            )

    def user(self, headers: Mapping[str, str], address: str) -> User:
        """Return who a request is from.

        Args:
            headers: of the request.
            address: that it came from.

        Raises:
            Untrusted: it is not from the proxy, or names nobody.
        """
        if self._demo is not None:
            return self._demo
        if self._secret:
            given = headers.get(self._secret_header, "")
            if not hmac.compare_digest(given.encode(), self._secret.encode()):
                raise Untrusted("the proxy's secret is missing or wrong")
        if self._networks and not self._is_proxy(address):
            raise Untrusted("the request is not from the proxy's address")
        id_, name, groups = (_text(headers.get(header, "")) for header in self._headers)
        if not id_:
            raise Untrusted("the proxy named nobody")
        held = {self._roles.get(group.strip(), "") for group in groups.split(",")}
        role = next((role for role in reversed(ROLES) if role in held), "")
        return User(id=id_[:MAX_NAME], name=(name or id_)[:MAX_NAME], role=role)

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)


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


def _text(header: str) -> str:
    """Return a header as the proxy meant it: the server reads Latin-1, proxies write UTF-8."""
    try:
        return header.encode("latin-1").decode().strip()
    except UnicodeError:
        return header.strip()


def _demo(demo_user: str, host: str) -> User:
    if host != "localhost":
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise Misconfigured(f"A demo user would be everybody who reaches {host}: use 127.0.0.1")
    name, _, role = demo_user.partition(":")
    role = role or "inspector"
    if not name or role not in ROLES:
        raise Misconfigured(f"--demo-user is NAME or NAME:ROLE, a role of {', '.join(ROLES)}")
    return User(id=f"demo/{name}", name=name, role=role)
