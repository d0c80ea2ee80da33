"""Signatures of webhooks: the symmetric scheme v1 of the Standard Webhooks specification, 1.0."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import SecretStr

from streams.settings import NotConfigured

PREFIX: Final = "whsec_"
KEY_BYTES: Final = range(24, 65)
MOST_KEYS: Final = 2


def signing_keys(secret: SecretStr) -> tuple[bytes, ...]:
    """Return the keys that REDLANE_DELIVER_SECRET holds: one, or two while one replaces the other.

    Raises:
        NotConfigured: there is none, or one is not of the specification's form. It is never quoted.
    """
    keys: list[bytes] = []
    for text in secret.get_secret_value().split():
        try:
            key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):  # ValueError: no ASCII
            key = b""
        if not text.startswith(PREFIX) or len(key) not in KEY_BYTES:
            keys = []
            break
        keys.append(key)
    if not 0 < len(keys) <= MOST_KEYS:
        raise NotConfigured(
            f"Set REDLANE_DELIVER_SECRET: {PREFIX} and then {KEY_BYTES[0]} to {KEY_BYTES[-1]} "
            "random bytes in base64; two of them, with a blank between, while one replaces the "
            "other."
        )
    return tuple(keys)


def signed(id_: str, body: bytes, *, at: int, keys: Iterable[bytes]) -> Mapping[str, str]:
    """Return the headers that sign a webhook.

    Args:
        id_: of the event.
        body: that is posted.
        at: when this attempt is made. Unit: s since 1970-01-01T00:00Z.
        keys: that the receiver may have; a signature for each.
    """
    content = b".".join((id_.encode(), str(at).encode(), body))
    digests = (hmac.digest(key, content, hashlib.sha256) for key in keys)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in digests),
    }
