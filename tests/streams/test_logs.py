"""Logs: one JSON object a line, and no text of an error that may quote personal data."""

import io
import json
import logging
from contextlib import contextmanager

import pytest
import structlog
from stamina.instrumentation import set_on_retry_hooks
from structlog.contextvars import bound_contextvars

from streams import logs
from streams.retry import retrying


@contextmanager
def written_lines():
    """Configures logging; yields a list that has, at the end, the lines that were written."""
    root, stream, lines = logging.getLogger(), io.StringIO(), []
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    root.handlers.clear()  # `configure` closes those that it finds, and pytest's must stay open
    logs.configure("INFO")
    root.handlers[0].setStream(stream)
    yield lines
    lines += map(json.loads, stream.getvalue().splitlines())
    structlog.configure(**configuration)
    root.handlers[:] = handlers
    root.setLevel(level)
    set_on_retry_hooks(None)


async def test_each_wait_for_a_service_is_logged():
    """With the service and the kind of the error, not what it says."""
    failures = [1, 1]

    async def act():
        if failures:
            failures.pop()
            raise OSError("Ann Peeters")
        return "done"

    with written_lines() as written, bound_contextvars(service="heat map"):
        assert await retrying(attempts=3, delay_s=0.001)(OSError, act) == "done"
    assert [
        (line["event"], line["level"], line["service"], line["error"], line["attempt"])
        for line in written
    ] == [
        ("waiting for a service", "warning", "heat map", "OSError", 1),
        ("waiting for a service", "warning", "heat map", "OSError", 2),
    ]
    assert all(line["wait_s"] >= 0 for line in written)
    assert "Peeters" not in json.dumps(written)


def test_records_of_the_standard_library_are_json_too():
    """Those of the libraries that the worker uses."""
    with written_lines() as written:
        logging.getLogger("aiokafka").warning("no %s", "broker")
    (line,) = written
    assert (line["event"], line["level"], line["logger"]) == ("no broker", "warning", "aiokafka")


async def test_the_last_error_propagates_after_the_attempts():
    """And an error of another kind at once."""
    calls = []

    async def act(error):
        calls.append(error)
        raise error(len(calls))

    retry = retrying(attempts=3, delay_s=0.001)
    with pytest.raises(OSError, match="3"):
        await retry(OSError, act, OSError)
    with pytest.raises(KeyError):
        await retry(OSError, act, KeyError)
    assert calls == [OSError] * 3 + [KeyError]


def test_a_refusal_is_told_with_what_to_do_and_without_a_trace():
    """Alone or in a group; a bug beside it keeps its trace."""

    class Denied(Exception):
        pass

    logs.tell_plainly("give it its rights", Denied)
    log = structlog.get_logger("test")
    with written_lines() as written:
        for error in (
            Denied("topic alerts"),
            ExceptionGroup("a", [Denied("topic alerts")]),
            ExceptionGroup("b", [Denied("topic alerts"), ValueError("a bug")]),
        ):
            try:
                raise error
            except Exception:
                log.exception("ended")
                logging.getLogger("library").exception("ended")
    plain, bugs = written[:4], written[4:]
    assert {(line["problem"], line["remedy"]) for line in plain} == {
        ("Denied: topic alerts", "give it its rights")
    }
    assert not [line for line in plain if "exception" in line]
    assert all("a bug" in line["exception"] for line in bugs)
