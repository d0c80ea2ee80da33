"""The client of Redis, as the settings have it."""

from streams.redis.client import redis_client
from streams.settings import Settings


def test_redis_is_not_waited_for():
    """A slow one costs a declaration no more than the timeout."""
    client = redis_client(Settings(redis_url="redis://store:7000/3", cache_timeout_s=0.25))
    options = client.connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("store", 7000, 3)
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 0.25
