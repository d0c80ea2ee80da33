"""A failing Redis is left alone for a while, then asked again."""

import pytest
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from streams.redis.circuit_breaker import CircuitBreaker


@pytest.mark.parametrize("error", [RedisError("host of the store"), TimeoutError(), OSError()])
def test_a_failure_opens_it_for_the_pause(error):
    """The failure is swallowed and logged by its kind alone."""
    now = [0.0]
    breaker = CircuitBreaker("cache unavailable", pause_s=5, clock=lambda: now[0])
    assert not breaker.is_open
    with capture_logs() as logs, breaker:
        raise error
    assert breaker.is_open
    assert logs == [
        {
            "event": "cache unavailable",
            "error": type(error).__name__,
            "pause_s": 5,
            "log_level": "warning",
        }
    ]
    now[0] = 5.0
    assert not breaker.is_open


def test_a_bug_is_not_swallowed():
    """Only what a failing service looks like is."""
    breaker = CircuitBreaker("cache unavailable", pause_s=5)
    with pytest.raises(KeyError), breaker:
        raise KeyError
    assert not breaker.is_open
