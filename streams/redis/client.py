"""Settings → the client of the cache and feature store, and whether Redis lets it in."""

import structlog
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from streams.redis.circuit_breaker import DENIALS, FAILURES, REMEDY, TLS_REMEDY, is_of_tls
from streams.settings import NotConfigured, Settings

log = structlog.get_logger(__name__)


def redis_client(settings: Settings) -> Redis:
    """Return the client of the cache and feature store."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        protocol=3,
        socket_timeout=settings.cache_timeout_s,
        socket_connect_timeout=settings.cache_timeout_s,
        **settings.redis_tls(),
    )


def check_redis(settings: Settings) -> None:
    """Check that Redis lets this user in; one that does not answer may do so later.

    Raises:
        NotConfigured: it does not, or its certificate is not valid.
    """
    url, wait_s = settings.redis_url.get_secret_value(), settings.cache_timeout_s
    tls = settings.redis_tls()
    with BlockingRedis.from_url(
        url, socket_timeout=wait_s, socket_connect_timeout=wait_s, **tls
    ) as redis:
        try:
            redis.ping()
        except DENIALS as error:
            raise NotConfigured(f"Redis refuses this user ({error}): {REMEDY}.") from error
        except FAILURES as error:
            if is_of_tls(error):
                raise NotConfigured(f"TLS to Redis fails ({error}): {TLS_REMEDY}.") from error
            log.warning("Redis does not answer", error=type(error).__name__)
