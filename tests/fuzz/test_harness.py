"""The harness itself: what a case must not do is found, also where the code hides it."""

import contextlib
import socket
import subprocess
import time

import pytest

from schemas.reasons import Reason
from tests.fuzz import harness
from tests.fuzz.choices import Choices
from tests.fuzz.harness import Broken, Target, check, watch

NOWHERE = ("192.0.2.1", 9)
"""Of a network that documentation may use (RFC 5737)."""


def made(run, *ends):
    return Target("made", run, frozenset(ends), 1.0)


@pytest.fixture(autouse=True)
def tight(monkeypatch):
    """Limits that a test can exceed soon."""
    monkeypatch.setattr(harness, "MAX_SECONDS", 0.1)
    monkeypatch.setattr(harness, "MAX_BYTES", 30_000_000)


def swallows(act):
    """Code that hides what went wrong."""

    def run(_):
        with contextlib.suppress(Exception):
            act()
        return Reason.PHOTO_UNAVAILABLE

    return run


def test_a_case_that_ends_in_its_codes_passes():
    """In one, or in one for each part."""
    assert check(made(lambda _: Reason.VALUE_EMPTY), b"") == ["value_empty"]
    assert check(made(lambda _: ["decoded", Reason.VALUE_EMPTY], "decoded"), b"") == ["decoded", "value_empty"]  # fmt: skip


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (lambda _: "fine", "no reason code"),
        (swallows(lambda: time.sleep(0.15)), "took 0.[12] s"),
        (swallows(lambda: bytearray(b"x") * 160_000_000), r"1\d\d MB more"),
        (swallows(lambda: socket.create_connection(NOWHERE, timeout=0.01)), "left the allow-list"),
        (swallows(lambda: socket.getaddrinfo("evil.example", 80)), "left the allow-list"),
        (swallows(lambda: subprocess.run(["true"], check=False)), "left the allow-list"),  # noqa: S607
    ],
    ids=["end", "time", "memory", "connection", "name", "process"],
)
def test_what_no_case_may_do_is_found(run, problem):
    with pytest.raises(Broken, match=problem):
        check(made(run), b"")


def test_an_exception_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        check(made(lambda _: str(1 // 0)), b"")


def test_a_service_of_the_target_may_be_asked():
    """Nothing else on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as service:

        def ask(_):
            socket.create_connection(service.getsockname()).close()
            return Reason.VALUE_EMPTY

        with pytest.raises(PermissionError):
            check(made(ask), b"")
        watch().allowed.add(service.getsockname())
        assert check(made(ask), b"") == ["value_empty"]


def test_bytes_that_are_missing_are_the_plainest_choices():
    """So a shorter case is a simpler one."""
    choices = Choices(b"\x01\xff")
    assert choices.pick("ab") == "b"
    assert choices.one_in(2)
    assert (choices.below(1000), choices.between(3, 9), choices.one_in(2), choices.left) == (0, 3, False, 0)  # fmt: skip
