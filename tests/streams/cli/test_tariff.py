"""`redlane tariff import`: what is read, and what is told by line."""

import json

import pytest
from typer.testing import CliRunner

from schemas.records import TariffMeasure
from schemas.topics import TARIFF_MEASURES
from streams.cli import app

TABLE = "commodity_code,duty\n640411,16.9 %\n0405,See 9912\n"


@pytest.fixture
def table(tmp_path):
    """A table with one line that cannot be read."""
    path = tmp_path / "tariff.csv"
    path.write_text(TABLE)
    return path


def run(*arguments):
    """Run the command; return its status, output and errors."""
    done = CliRunner().invoke(app, ["tariff", "import", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_dry_run_needs_no_service(table):
    """The unread cell with its line, and the counts."""
    status, output, errors = run(table, "--dry-run")
    assert status == 0
    assert output == "line 3, duty: 0405 'See 9912': it refers to another measure or note\n"
    assert errors.endswith("1 measures read.\n")


def test_as_json(table):
    """For programs."""
    status, output, _ = run(table, "--dry-run", "--json")
    assert status == 0
    found = json.loads(output)
    assert (found["measures"], found["published"]) == (1, 0)
    assert found["unread"][0]["line"] == 3


def test_measures_are_published(table, monkeypatch):
    """With the source and the start that were given."""
    sent = []

    class Publisher:
        def __init__(self, settings, *, source):
            self.source = source

        def put(self, topic, records):
            sent.append((self.source, topic, list(records)))

    monkeypatch.setattr("streams.kafka.publisher.Publisher", Publisher)
    status, _, errors = run(table, "--source", "TARIC", "--valid-from", "2026-11-01")
    assert status == 0, errors
    ((source, topic, (measure,)),) = sent
    assert (source, topic) == ("redlane/tariff", TARIFF_MEASURES)
    assert isinstance(measure, TariffMeasure)
    assert (measure.source, measure.valid_from.isoformat()) == (
        "TARIC",
        "2026-11-01T00:00:00+00:00",
    )
    assert errors.endswith("1 measures published.\n")


def test_a_file_that_is_no_table(tmp_path):
    """One line that says what to correct."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    status, _, errors = run(path, "--dry-run")
    assert status == 1
    assert "there is no column commodity_code" in errors
