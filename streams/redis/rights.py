"""What the user of each component may do in Redis, and nothing else: keys and commands.

The names of the keys are those of streams/redis/keys.py, of every version of their formats.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

CONNECT: Final = frozenset({"hello", "client|setinfo", "client|setname", "select", "ping"})
TRANSACTION: Final = frozenset({"multi", "exec", "discard", "watch", "unwatch"})
"""Contents that are not ours are deleted in one."""
STRINGS: Final = frozenset({"get", "set", "del"})
SETS: Final = frozenset(
    {
        "expire",
        "zadd",
        "zcard",
        "zcount",
        "zrange",
        "zrem",
        "zremrangebyrank",
        "zremrangebyscore",
        "zrevrangebyscore",
    }
)
COUNTS: Final = frozenset({"pfadd", "pfcount"})
HISTORIES: Final = ("declaration", "risk", "inspected", "irregular", "trader")
KEYS: Final[Mapping[str, Iterable[str]]] = {
    "screen": [
        "embedding:*",
        "capacity:*",
        *(
            f"signals:*:{name}:*"
            for name in ("record", "importer", "seller", "pair", "price", "photo", *HISTORIES)
        ),
    ],
    "explain": ["embedding:*", "signals:*:record:*"],
    "learn": [f"signals:*:{name}:*" for name in (*HISTORIES, "learned", "decided")],
    "doctor": [],
}
"""Component → patterns of the keys that it reads and writes."""
COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "screen": CONNECT | TRANSACTION | STRINGS | SETS | COUNTS,
    "explain": CONNECT | TRANSACTION | STRINGS,
    "learn": CONNECT | TRANSACTION | STRINGS | SETS,
    "doctor": CONNECT | {"info"},
}


def rules(component: str) -> list[str]:
    """Return the rights of a component's user, as `ACL SETUSER` takes them."""
    keys = [f"~{pattern}" for pattern in KEYS[component]]
    return [
        "resetkeys",
        "resetchannels",
        "-@all",
        *keys,
        *(f"+{c}" for c in sorted(COMMANDS[component])),
    ]


def line(component: str, user: str, password: str) -> str:
    """Return a user's line in an ACL file, with the password's hash."""
    hashed = hashlib.sha256(password.encode()).hexdigest()
    return " ".join(["user", user, "on", f"#{hashed}", *rules(component)])
