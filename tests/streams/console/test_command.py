"""`redlane console`: what it passes on, and how it ends."""

import pytest
from typer.testing import CliRunner

from streams import console
from streams.cli import app
from streams.console.state.tables import Unusable
from streams.console.web.identity import Misconfigured
from streams.kafka.registry import NotDeployed, RegistryFailed


@pytest.fixture
def run(monkeypatch):
    """Runs the command with `serve` replaced."""
    monkeypatch.setattr("streams.logs.configure", lambda _level: None)

    def run(serve, *arguments):
        monkeypatch.setattr(console, "serve", serve)
        return CliRunner().invoke(app, ["console", *arguments])

    return run


@pytest.mark.parametrize("status", [0, 1])
def test_options_reach_the_console(run, status):
    """And its exit status is the command's."""
    calls = []

    def serve(_settings, **options):
        calls.append(options)
        return status

    result = run(serve, "--demo-user", "ann:viewer", "--port", "1", "--database", "sqlite:///x.db")
    assert result.exit_code == status
    assert calls == [
        {
            "host": "127.0.0.1",
            "port": 1,
            "demo_user": "ann:viewer",
            "database_url": "sqlite:///x.db",
        }
    ]


@pytest.mark.parametrize("error", [Misconfigured, NotDeployed, RegistryFailed, Unusable])
def test_what_an_operator_must_repair_is_one_line(run, error):
    """Exit status 2, and no traceback."""

    def serve(_settings, **_options):
        raise error("what to repair")

    result = run(serve)
    assert (result.exit_code, result.stderr) == (2, "what to repair\n")
