"""Logs: one JSON object a line, and no text of an error that may quote personal data."""

import io
import json
import logging
import sys
import threading
from contextlib import contextmanager

import pytest
import structlog
from stamina.instrumentation import set_on_retry_hooks
from structlog.contextvars import bound_contextvars

from schemas.codec import Undecodable
from schemas.reasons import Reason
from streams import logs
from streams.retry import retrying

NAME = "Ann Peeters"
"""Of a trader; lines of code that are logged do not hold it."""


@contextmanager
def written_lines(level="INFO"):
    """Configures logging; yields a list that has, at the end, the lines that were written."""
    root, stream, lines = logging.getLogger(), io.StringIO(), []
    handlers, before, configuration = root.handlers[:], root.level, structlog.get_config()
    root.handlers.clear()  # `configure` closes those that it finds, and pytest's must stay open
    logs.configure(level)
    root.handlers[0].setStream(stream)
    yield lines
    lines += map(json.loads, stream.getvalue().splitlines())
    structlog.configure(**configuration)
    root.handlers[:] = handlers
    root.setLevel(before)
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


def test_libraries_never_log_below_info():
    """There Kafka's client repeats whole events."""
    with written_lines("DEBUG") as written:
        logging.getLogger("aiokafka.conn").debug("Sending Ann Peeters")
        logging.getLogger("streams.kafka.worker").debug("ours")
        structlog.get_logger("models.encoding").debug("ours too")
    assert [line["event"] for line in written] == ["ours", "ours too"]


def failing():
    """Raise an error of our own that a library's led to, in a group, with a name in all but ours."""
    try:
        try:
            int(NAME)
        except ValueError as error:
            raise Undecodable(Reason.VALUE_EMPTY, "no bytes") from error
    except Undecodable as error:
        raise ExceptionGroup(NAME, [error, OSError(NAME)]) from None


def caught():
    with pytest.raises(ExceptionGroup) as caught:
        failing()
    return caught.value


@pytest.mark.parametrize(
    "log",
    [
        lambda error: logging.getLogger("faust").error("Crashed reason=%r", error, exc_info=error),
        lambda error: structlog.get_logger("streams").error("bug", exc_info=error),
        lambda error: sys.excepthook(type(error), error, error.__traceback__),
        lambda error: threading.excepthook(threading.ExceptHookArgs((type(error), error, None, None))),
    ],
    ids=["of a library", "of ours", "that ends the process", "that ends a thread"],
)  # fmt: skip
def test_of_an_error_only_our_own_text_is_logged(log):
    """Others may quote what a trader declared; kinds and lines of code tell enough."""
    error = caught()
    with written_lines() as written:
        log(error)
    (line,) = written
    assert NAME not in json.dumps(line)
    told = line["exception"]
    assert "builtins.ValueError\n" in told
    assert "schemas.codec.Undecodable: value_empty: no bytes" in told
    assert "builtins.OSError" in told
    assert "in failing" in told


def test_an_error_that_caused_itself_is_described_once():
    """No end of causes."""
    error = KeyError("Ann Peeters")
    error.__cause__ = error
    assert logs.described(error) == "builtins.KeyError"


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

    class Denied(Exception):  # noqa: N818 - says what happened
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
                raise error  # noqa: TRY301 - as a worker ends
            except Exception:
                log.exception("ended")
                logging.getLogger("library").exception("ended")
    plain, bugs = written[:4], written[4:]
    assert {(line["problem"], line["remedy"]) for line in plain} == {
        ("Denied: topic alerts", "give it its rights")
    }
    assert not [line for line in plain if "exception" in line]
    assert all("ValueError" in line["exception"] for line in bugs)
