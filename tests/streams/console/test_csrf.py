"""Tokens of forms: one user's, for a day or two, whoever checks them."""

import pytest

from streams.console.state.tables import Database
from streams.console.state.users import User
from streams.console.web import csrf
from streams.console.web.csrf import DAY_S, Tokens

NOON = 20_000 * DAY_S + DAY_S // 2
ANN = User(id="ann", name="Ann", role="inspector")
BRAM = User(id="bram", name="Bram", role="inspector")


@pytest.fixture
def clock(monkeypatch):
    """What time it is, for tokens: seconds since 1970."""
    now = [NOON]
    monkeypatch.setattr(csrf.time, "time", lambda: now[0])
    return now


def test_a_token_is_one_users(database):
    """Neither another user's nor a changed one holds."""
    tokens = Tokens(database)
    token = tokens.give(ANN)
    assert tokens.holds(ANN, token)
    assert not tokens.holds(BRAM, token)
    assert not tokens.holds(User(id="ann.", name="Ann", role="inspector"), token)
    for junk in ("", "0" * 64, "é", ".", "..", token[:-1], f"{token}x", token.upper(), "\0"):
        assert not tokens.holds(ANN, junk)


def test_a_token_holds_for_a_day_or_two(database, clock):
    """And stays the same for a day: a page's parts are replaced when they change."""
    tokens = Tokens(database)
    first = tokens.give(ANN)
    clock[0] += DAY_S // 2 - 1
    assert tokens.give(ANN) == first
    clock[0] += 1
    assert tokens.give(ANN) != first
    clock[0] += DAY_S - 1
    assert tokens.holds(ANN, first)
    clock[0] += 1
    assert not tokens.holds(ANN, first)


def test_replicas_and_restarts_share_the_key(database, url):
    """It lies in the database."""
    token = Tokens(database).give(ANN)
    replica = Database(url)
    assert Tokens(replica).holds(ANN, token)
    replica.close()


def test_another_database_has_another_key(database, tmp_path):
    """What one console signed is nothing to another."""
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    assert not Tokens(database).holds(ANN, Tokens(other).give(ANN))
    other.close()
