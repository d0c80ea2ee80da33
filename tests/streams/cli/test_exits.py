"""What is missing, wrong or down is one line on standard error, with what to do, and no traceback."""

import socket
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from streams import app as composition
from streams.cli import app
from streams.kafka import unread
from streams.local.process import LOOPBACK, free_port
from streams.operations import dead_letters, deploy
from streams.reference.follower import ReferenceLost
from streams.settings import Settings
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
        ("REGISTRY_URL", "http://ann:x"),
        ("S3_BUCKETS", "good,Ann/"),
        ("S3_BUCKETS", " , "),
        ("S3_ENDPOINT", "ann"),
        ("S3_EXPLANATIONS_BUCKET", ""),
        ("REDIS_URL", "ann"),
        ("REDIS_URL", "redis://ann:x/0"),
        ("KAFKA_BOOTSTRAP_SERVERS", "http://ann"),
        ("KAFKA_BOOTSTRAP_SERVERS", "one:9092,"),
        ("KAFKA_CA_FILE", "/ann"),
        ("KAFKA_CA_FILE", "ann" * 100),
        ("KAFKA_USERNAME", "ann\udcff"),
        ("CAPACITY", "[" * 20_000),
        ("STALL_LIMIT_S", "inf"),
        ("SIGNALS_TTL_DAYS", "99999999999"),
        ("KAFKA_REPLICATION", "0"),
        ("HEALTH_PORT", "99999"),
        ("CAPACITY_WINDOW_S", "7001"),
        ("CONSOLE_TIME_ZONE", "Mars/ann"),
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


def test_blanks_in_a_list_do_not_count(monkeypatch):
    """A person writes them after a comma."""
    monkeypatch.setenv("REDLANE_S3_BUCKETS", "one-bucket, two.buckets ,")
    monkeypatch.setenv("REDLANE_KAFKA_BOOTSTRAP_SERVERS", "one:9092, [::1]:9093")
    settings = Settings()
    assert settings.s3_buckets == ("one-bucket", "two.buckets")
    assert settings.kafka_bootstrap_servers == "one:9092,[::1]:9093"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("classify --text=", "--text is empty: describe the goods, or give --image alone."),
        ("up --brokers 2", "--brokers must be 1 or 3."),
        ("up --env-file /none/x.env", "--env-file: there is no folder /none."),
        ("demo --json /none/x.json", "--json: there is no folder /none."),
        ("send --kinds clean", "--kinds clean: write NAME=SHARE,NAME=SHARE,…"),
    ],
)
def test_an_argument_that_makes_no_sense_is_one_line(words, line):
    """Exit code 2, before anything is started."""
    done = invoke(*words.split())
    assert (done.exit_code, done.stderr) == (2, f"{line}\n")


@pytest.mark.parametrize("words", ["up --kafka-port 99999", "console --demo-user ann --port 99999"])
def test_a_port_that_there_is_not_is_refused(words):
    """Exit code 2, with the range."""
    done = invoke(*words.split())
    assert done.exit_code == 2
    assert "65535" in done.stderr


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_explanations_are_not_measured_on_a_folder_without_artefacts(name, tmp_path):
    """Exit code 1 and the command that writes one, before anything is built."""
    (tmp_path / "empty").mkdir()
    folder, nowhere = str(tmp_path / name), str(tmp_path / "nowhere")
    options = ("--goods", nowhere, "--declarations", nowhere, "--artifacts", folder)
    done = invoke("evaluate", "explain", *options)
    assert done.exit_code == 1
    assert done.stderr == (
        f"{folder} has no model.json: give a folder that `redlane train hs --out` wrote.\n"
    )


@pytest.mark.parametrize("command", ["screen", "explain", "learn", "console"])
def test_a_port_that_is_taken_is_one_line(command, keys, monkeypatch):
    """Exit code 2 and the setting, before a service is asked or a model loaded."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("REDLANE_HEALTH_PORT", str(port))
        console = ("--demo-user", "ann", "--port", str(port)) if command == "console" else ()
        done = invoke(command, *console)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{LOOPBACK}:{port} cannot be listened on (Address already in use)")
    assert ("--port" if console else "REDLANE_HEALTH_PORT") in line


def test_a_learning_worker_without_kafka_says_so_in_one_line(keys, nothing_runs, monkeypatch):
    """Exit code 1, after some attempts, and no traceback of Faust."""
    monkeypatch.setattr(unread, "ANSWER_S", 0.2)
    monkeypatch.setattr(composition, "Registry", lambda _: SimpleNamespace(
        wait=lambda _: None, writers=lambda _: {}
    ))  # fmt: skip
    done = invoke("learn")
    assert done.exit_code == 1
    *waits, line = done.stderr.splitlines()
    assert all("waiting" in wait for wait in waits)
    assert line.startswith("Kafka does not answer: ")
    assert "Check REDLANE_KAFKA_BOOTSTRAP_SERVERS" in line


def test_a_certificate_that_is_none_is_one_line(nothing_runs, monkeypatch, tmp_path):
    """Exit code 2 and which sort of setting."""
    (tmp_path / "ca.pem").write_text("none")
    monkeypatch.setenv("REDLANE_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("REDLANE_KAFKA_CA_FILE", str(tmp_path / "ca.pem"))
    for words in ("deploy", "dead-letters list"):
        done = invoke(*words.split())
        assert done.exit_code == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("Correct a setting REDLANE_KAFKA_…: ")


def test_a_file_that_cannot_be_written_or_read_is_one_line(tmp_path):
    """Its name and why, in every command."""
    done = invoke("assess", str(tmp_path))
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path}: Is a directory\n")
    done = invoke("bundle", "--out", "/proc/none/none")
    assert done.exit_code == 1
    assert done.stderr.startswith("/proc/none")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("url", ["nonsense", "mysqll://x", "sqlite:////none/x.db"])
def test_a_database_that_there_is_not_is_one_line(url, keys, nothing_runs):
    """Exit code 2."""
    done = invoke("console", "--demo-user", "ann", "--port", "0", "--database", url)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("The console's database cannot be used: ")
