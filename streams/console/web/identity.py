"""The OIDC proxy's headers → the user and their role. Nobody else's headers are trusted."""

import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final

from streams.console.state.users import ROLES, User
from streams.setting_types import is_loopback
from streams.settings import Settings

MAX_NAME: Final = 120


class Misconfigured(Exception):  # noqa: N818 - says what it is
    """The console would trust nobody, or everybody."""


class Untrusted(Exception):  # noqa: N818 - says what it is
    """The request does not come from the proxy, or the proxy names no user."""


class Identity:
    """Identifies the user of a request."""

    def __init__(self, settings: Settings, *, host: str, demo_user: str | None) -> None:
        """Take the settings; `host` is the address that the console listens on.

        Raises:
            Misconfigured: no setting says which proxy to trust; or the demo user would be
                everybody on the network.
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
                ipaddress.ip_network(network.strip())
                for network in settings.console_proxy_addresses
            ]
        except ValueError as error:
            raise Misconfigured(f"REDLANE_CONSOLE_PROXY_ADDRESSES: {error}") from error
        if self._demo is None and not self._secret and not self._networks:
            raise Misconfigured(
                "Set REDLANE_CONSOLE_PROXY_SECRET or REDLANE_CONSOLE_PROXY_ADDRESSES, so that only "
                "the OIDC proxy's headers are trusted; on your own machine use --demo-user NAME."
            )

    def user(self, headers: Mapping[str, str], address: str) -> User:
        """Return the user of a request.

        Args:
            headers: of the request.
            address: of the client.

        Raises:
            Untrusted: it does not come from the proxy, or the proxy names no user.
        """
        if self._demo is not None:
            return self._demo
        if self._secret:
            secret = headers.get(self._secret_header, "")
            if not hmac.compare_digest(secret.encode(), self._secret.encode()):
                raise Untrusted("the proxy's secret is missing or wrong")
        if self._networks and not self._is_proxy(address):
            raise Untrusted("the request is not from the proxy's address")
        id_, name, groups = (_text(headers.get(header, "")) for header in self._headers)
        if not id_:
            raise Untrusted("the proxy named no user")
        roles = {self._roles.get(group.strip(), "") for group in groups.split(",")}
        role = next((role for role in reversed(ROLES) if role in roles), "")
        return User(id=id_[:MAX_NAME], name=(name or id_)[:MAX_NAME], role=role)

    def _is_proxy(self, address: str) -> bool:
        try:
            client = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(client in network for network in self._networks)


def _text(header: str) -> str:
    """Return a header's text: the server decodes Latin-1, but proxies write UTF-8."""
    try:
        return header.encode("latin-1").decode().strip()
    except UnicodeError:
        return header.strip()


def _demo(demo_user: str, host: str) -> User:
    if not is_loopback(host):
        raise Misconfigured(f"A demo user would be everybody who reaches {host}: use 127.0.0.1")
    name, _, role = demo_user.partition(":")
    role = role or "inspector"
    if not name or role not in ROLES:
        raise Misconfigured(f"--demo-user is NAME or NAME:ROLE, a role of {', '.join(ROLES)}")
    return User(id=f"demo/{name}", name=name, role=role)
