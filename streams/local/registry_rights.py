"""The right to register schemas: a key that Apicurio checks tokens with, and a token."""

import time
from typing import Final

from joserfc import jwt
from joserfc.jwk import RSAKey

ALGORITHM: Final = "RS256"
KEY_BITS: Final = 2048
ROLE: Final = "sr-developer"
"""Apicurio's role that may register schemas and set their compatibility."""
VALID_S: Final = 365 * 86_400


def key_and_token() -> tuple[str, str]:
    """Return a new public key (PEM without its frame) and a token signed with the private one.

    The private key is forgotten: nobody can make a second token.
    """
    key = RSAKey.generate_key(KEY_BITS)
    pem = key.as_pem(private=False).decode().splitlines()
    now = int(time.time())
    claims = {"sub": "redlane-deploy", "groups": [ROLE], "iat": now, "exp": now + VALID_S}
    public_key = "".join(line for line in pem if not line.startswith("-----"))
    return public_key, jwt.encode({"alg": ALGORITHM}, claims, key)
