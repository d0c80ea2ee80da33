"""A person's name → a pseudonym that only the holder of the key can link to it."""

import hashlib
import unicodedata


def pseudonym(key: bytes, name: str) -> str:
    """Return the keyed hash of a name: 32 hexadecimal digits, equal for equal names and keys.

    Case and surrounding or repeated white space make no difference. BLAKE2 with a key is a MAC
    (RFC 7693): without the key nobody can try out names. Pseudonymised data stays personal data
    (Art. 4(5) GDPR).

    Raises:
        ValueError: the key is empty or longer than 64 bytes, or the name is empty.
    """
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    if not folded:
        raise ValueError("A name is empty.")
    if not 0 < len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
        raise ValueError("The pseudonym key must have 1 to 64 bytes.")
    return hashlib.blake2b(
        folded.encode(), digest_size=16, key=key, person=b"pseudonym"
    ).hexdigest()
