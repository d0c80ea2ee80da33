"""What is missing, wrong or down is one line on standard error, with what to do, and no traceback."""

import time

import pytest
from typer.testing import CliRunner

from streams import app as composition
from streams.cli import app
from streams.local.process import LOOPBACK, free_port
from streams.operations import dead_letters, deploy
from streams.reference.follower import ReferenceLost
from tests.fakes import FakeScorer


def invoke(*words):
    return CliRunner().invoke(app, words)


@pytest.fixture
def nothing_runs(monkeypatch):
    """The address of Kafka and the registry, where nothing listens; nothing waits long for them."""
    address = f"{LOOPBACK}:{free_port()}"
    monkeypatch.setenv("REDLANE_KAFKA_BOOTSTRAP_SERVERS", address)
    monkeypatch.setenv("REDLANE_REGISTRY_URL", f"http://{address}")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(dead_letters, "ANSWER_S", 0.2)
    monkeypatch.setattr(deploy, "ANSWER_S", 0.2)
    return address


@pytest.mark.parametrize("command", ["screen", "explain"])
def test_a_worker_without_a_bundle_says_so_in_one_line(command, keys):
    """Exit code 2, and what to do."""
    done = invoke(command)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Set REDLANE_BUNDLE to the folder of a model bundle")
    assert "`redlane bundle`" in line


@pytest.mark.parametrize("command", ["screen", "explain"])
def test_a_worker_with_a_wrong_bundle_says_so_in_one_line(command, keys, monkeypatch, tmp_path):
    """Exit code 1, before a service is asked."""
    for folder in (tmp_path, tmp_path / "none"):
        monkeypatch.setenv("REDLANE_BUNDLE", str(folder))
        done = invoke(command)
        assert done.exit_code == 1
        assert done.stderr == f"{folder} is no model bundle: build one with `redlane bundle`.\n"


@pytest.mark.parametrize("command", ["screen", "explain", "learn"])
def test_a_worker_without_a_registry_says_so_in_one_line(command, keys, nothing_runs, monkeypatch):
    """Exit code 1, after some attempts."""
    monkeypatch.setattr(composition, "load_scorer", lambda _: FakeScorer())
    done = invoke(command)
    assert done.exit_code == 1
    *waits, line = done.stderr.splitlines()
    assert all("waiting" in wait for wait in waits)
    assert line.startswith(f"The schema registry at {nothing_runs} does not answer")
    assert "Check REDLANE_REGISTRY_URL" in line


def test_a_worker_without_kafka_says_so_in_one_line(keys, monkeypatch):
    """Exit code 1."""

    def screening(_):
        raise ReferenceLost("Kafka does not answer.")

    monkeypatch.setattr(composition, "screening", screening)
    done = invoke("screen")
    assert (done.exit_code, done.stderr) == (1, "Kafka does not answer.\n")


@pytest.mark.parametrize("words", ["deploy", "dead-letters list", "dead-letters replay --reason x"])
def test_a_command_that_needs_kafka_says_so_in_one_line(words, nothing_runs):
    """With the setting to check."""
    done = invoke(*words.split())
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Kafka does not answer: ")
    assert "Check REDLANE_KAFKA_BOOTSTRAP_SERVERS" in line


def test_profiles_without_a_registry_are_one_line(nothing_runs):
    """Once is enough for a person, who can try again."""
    done = invoke("profile", "list")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"The schema registry at {nothing_runs} does not answer")


@pytest.mark.parametrize("command", ["screen", "doctor", "deploy"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH_SIZE", "ann"),
        ("CAPACITY", '{"yellow": "ann"}'),
        ("CONSOLE_ROLES", "{ann"),
        ("REGISTRY_URL", "ann"),
    ],
)
def test_a_setting_that_is_wrong_is_named_and_not_quoted(command, name, value, monkeypatch):
    """Exit code 2, one line."""
    monkeypatch.setenv(f"REDLANE_{name}", value)
    done = invoke(command)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Correct ")
    assert name in line.upper()
    assert "ann" not in line


@pytest.mark.parametrize(
    "words", ["simulate", "train risk", "evaluate risk"], ids=lambda words: words.replace(" ", "-")
)
def test_declarations_that_cannot_be_read_are_refused(words, tmp_path):
    """Exit code 1 and the missing file, before anything is trained."""
    folder = tmp_path / "none"
    done = invoke(*words.split(), "--declarations", str(folder))
    assert done.exit_code == 1
    assert str(folder) in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.usefixtures("bundle", "goods_folder")
@pytest.mark.parametrize(
    "words", ["train hs", "evaluate hs", "evaluate evidence", "evaluate explain"]
)
def test_goods_that_cannot_be_read_are_refused(words, tmp_path, tmp_path_factory):
    """Exit code 1, one line, nothing written."""
    folder = str(tmp_path / "none")
    options = ["--goods", folder]
    if words == "train hs":
        texts = tmp_path_factory.mktemp("texts") / "texts.csv"
        texts.write_text("id,source,lang,text,hs6\n1,parcels,en,shoes,640411\n")
        options += ["--texts", str(texts), "--out", str(tmp_path / "out")]
    elif words != "evaluate hs":
        options += ["--declarations", folder]
    done = invoke(*words.split(), *options)
    assert done.exit_code == 1
    assert folder in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []
