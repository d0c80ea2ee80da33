"""The command line as a newcomer meets it: help, examples, exit codes, one line for each mistake."""

import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from models.networks.fusion import KINDS
from streams.cli import app
from streams.cli.models.learning import Fusion
from streams.kafka.delivery import NotDelivered
from streams.kafka.registry import RegistryFailed
from streams.local.preflight import NotReady
from streams.operations import doctor
from streams.operations.dead_letters import Choice, Letter, Replayed
from streams.operations.doctor import Finding


def commands(command=None, path=()):
    """Yield the words of every command, and the command."""
    command = command or typer.main.get_command(app)
    for name, below in getattr(command, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from commands(below, (*path, name))
        else:
            yield (*path, name), below


def invoke(*words):
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_the_help_of_every_command_renders_with_an_example_of_itself(words):
    """`--help` exits with 0 and shows how to call the command."""
    done = invoke(*words, "--help")
    assert done.exit_code == 0, done.output
    assert "Example" in done.output
    example = "".join(done.output.partition("Example")[2].split())
    assert "redlane" + "".join(words) in example


def test_the_help_lists_every_command_but_the_hidden_one():
    """The old name of `redlane screen` still works, and nobody learns it any more."""
    listed = invoke("--help").output
    assert [words for words, command in commands() if command.hidden] == [("worker",)]
    for words, command in commands():
        assert (f" {words[0]} " in listed) is not command.hidden


def test_a_group_without_a_command_shows_its_help():
    """`redlane dead-letters` names its commands."""
    done = invoke("dead-letters")
    assert "replay" in done.output
    assert "Traceback" not in done.output


def test_the_doctor_gives_the_advice_of_a_worker_without_a_bundle(keys, monkeypatch):
    """The same setting and the same command."""
    for name in ("_kafka", "_registry", "_storage", "_redis"):
        monkeypatch.setattr(doctor, name, lambda _: "answers")
    done = invoke("doctor")
    assert done.exit_code == 1
    assert done.stdout.count("FAIL") == 1
    assert "Set REDLANE_BUNDLE to the folder of a model bundle" in done.stdout
    assert "→ build one with `redlane bundle` and set REDLANE_BUNDLE" in done.stdout


def test_the_doctor_exits_with_0_where_all_is_well(monkeypatch):
    """No remedy is shown."""
    findings = [Finding("Kafka", detail="1 broker(s)"), Finding("Redis", detail="answers")]
    monkeypatch.setattr(doctor, "examine", lambda _: findings)
    done = invoke("doctor")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["ok    Kafka: 1 broker(s)", "ok    Redis: answers"]


def test_the_old_name_of_screen_prints_a_deprecation_on_standard_error(keys):
    """Then it does what `redlane screen` does."""
    done = invoke("worker")
    assert done.exit_code == 2
    assert done.stdout == ""
    deprecation, missing = done.stderr.splitlines()
    assert deprecation == "`redlane worker` is deprecated: use `redlane screen`."
    assert missing.startswith("Set REDLANE_BUNDLE")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    """Exit code 1, without a traceback."""
    done = invoke("bundle", "--verify", str(tmp_path))
    assert done.exit_code == 1
    assert done.stderr == f"{tmp_path} is no model bundle: build one with `redlane bundle`.\n"


def test_building_into_a_folder_that_exists_is_refused(tmp_path):
    """Nothing is overwritten."""
    done = invoke("bundle", "--out", str(tmp_path))
    assert done.exit_code == 1
    assert str(tmp_path) in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_artefacts_that_are_missing_are_refused(tmp_path):
    """Before the folder is made, so that the next attempt may make it."""
    done = invoke("bundle", "--out", str(tmp_path / "out"), "--artifacts", str(tmp_path))
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{tmp_path} has no model.json: ")
    assert list(tmp_path.iterdir()) == []


def test_a_serving_image_names_the_extra_that_builds(monkeypatch):
    """Without torch: one line, exit code 2."""
    monkeypatch.delitem(sys.modules, "models.training.bundle_builder", raising=False)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    done = invoke("bundle")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("This command needs the extra `build`")
    assert "pip install 'redlane[build]'" in line


@pytest.mark.parametrize("content", [b"no photo", None], ids=["not a photo", "missing"])
def test_classify_refuses_a_bad_photo(tmp_path, content):
    """The file and the reason, before any model is loaded."""
    photo = tmp_path / "photo.jpg"
    if content is not None:
        photo.write_bytes(content)
    done = invoke("classify", "--image", str(photo))
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{photo}: ")


def test_classify_needs_a_text_or_a_photo():
    """Exit code 2 and what to give."""
    done = invoke("classify")
    assert done.exit_code == 2
    assert done.stderr == "Give --text, --image or both.\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_classify_names_codes_of_a_text(bundle, as_json):
    """Five candidates with their texts, best first, the 95 % set and the nearest past goods."""
    text = ("classify", "--bundle", str(bundle), "--text", "chaussures de sport en textile")
    done = invoke(*text, *(["--json"] if as_json else []))
    assert done.exit_code == 0, done.output
    if as_json:
        answer = json.loads(done.stdout)
        chances = [candidate["probability"] for candidate in answer["candidates"]]
        assert len(chances) == 5
        assert chances == sorted(chances, reverse=True)
        assert all(candidate["text"] and candidate["lines"] for candidate in answer["candidates"])
        cosines = [goods["similarity"] for goods in answer["similar_goods"]]
        assert len(cosines) == 5
        assert cosines == sorted(cosines, reverse=True)
        assert answer["agreement"] is None
        assert answer["shown"] == []
    else:
        assert "95 % set:" in done.stdout
        assert "Nearest past goods (cosine): 64" in done.stdout
        assert "outer soles of rubber" in " ".join(done.stdout.split())


USING_A_BUNDLE = (
    ("classify", "--text", "shoes"),
    ("evaluate", "hs", "--texts"),
    ("evaluate", "hs", "--goods"),
    ("evaluate", "explain", "--declarations", "x", "--goods"),
)


@pytest.fixture
def data(tmp_path):
    """A text and a photo of goods, to measure on."""
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (tmp_path / "goods.csv").write_text(
        "id,source,lang,text,item_id,image,description,hs6\n1,x,en,shelf,1,a.jpg,shelf,940320\n"
    )
    return tmp_path


@pytest.mark.parametrize("by_setting", [False, True], ids=["--bundle", "REDLANE_BUNDLE"])
@pytest.mark.parametrize("words", USING_A_BUNDLE, ids=" ".join)
def test_the_bundle_that_is_named_is_used_and_none_is_built(words, by_setting, data, monkeypatch):
    """--bundle, else REDLANE_BUNDLE; one that is no bundle is refused in one line."""

    def build(*_):
        pytest.fail("A bundle was built.")

    monkeypatch.setattr("models.training.bundle_builder.default_bundle", build)
    none, other = data / "none", data / "other"
    monkeypatch.setenv("REDLANE_BUNDLE", str(none if by_setting else other))
    of_data = [str(data / "goods.csv" if words[-1] == "--texts" else data)]
    options = [] if by_setting else ["--bundle", str(none)]
    done = invoke(*words, *(of_data if words[0] == "evaluate" else []), *options)
    assert done.exit_code == 1, done.output
    assert done.stderr.splitlines()[-1].startswith(f"{none} is no model bundle")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("hs",), "Give --goods or --texts."),
        (("hs", "--goods", "x", "--texts", "x"), "Give --goods or --texts."),
        (("hs", "--texts", "x", "--ablation"), "need --goods."),
        (
            ("explain", "--goods", "x", "--declarations", "x", "--bundle", "x", "--artifacts", "x"),
            "Give --bundle or --artifacts.",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused(words, message):
    """Exit code 2."""
    done = invoke("evaluate", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_a_split_that_a_folder_lacks_is_refused(bundle, data):
    """Exit code 1, and which there are."""
    done = invoke("evaluate", "hs", "--goods", str(data), "--split", "dev", "--bundle", str(bundle))
    assert done.exit_code == 1
    assert "has no column split, so there is no split 'dev'" in done.stderr


def test_unknown_kinds_are_refused_before_anything_is_sent(goods_folder):
    """The message lists those that exist."""
    done = invoke("send", "--catalogue", str(goods_folder), "--kinds", "smuggling=1.0")
    assert done.exit_code == 2
    assert done.stderr.startswith("Unknown kinds smuggling; there are clean, wrong_code")


def test_a_missing_catalogue_is_refused(tmp_path):
    """Exit code 2 and the folder."""
    done = invoke("send", "--catalogue", str(tmp_path / "none"))
    assert done.exit_code == 2
    assert str(tmp_path / "none") in done.stderr


def test_what_cannot_be_sent_is_one_line(goods_folder, monkeypatch, tmp_path):
    """Exit code 1."""

    def send(*_, **__):
        raise NotDelivered("A photo could not be uploaded.")

    monkeypatch.setattr("streams.synthetic.send.send", send)
    monkeypatch.setattr("streams.kafka.contact.reach", lambda *_, **__: None)
    done = invoke("send", "--catalogue", str(goods_folder), "--truth", str(tmp_path / "truth"))
    assert done.exit_code == 1
    assert done.stderr == "A photo could not be uploaded.\n"


@pytest.mark.parametrize("status", [0, 1])
def test_demo_exits_with_the_status_of_its_run(monkeypatch, status):
    """0 only if nothing went wrong; the options arrive."""
    runs = []
    monkeypatch.setattr("streams.synthetic.demo.run", lambda options: runs.append(options) or status)  # fmt: skip
    done = invoke("demo", "--once", "--count", "5")
    assert done.exit_code == status
    assert (runs[0].once, runs[0].count, runs[0].rate) == (True, 5, 20.0)


def test_demo_says_what_is_in_the_way(monkeypatch):
    """Each problem on a line, exit code 2."""

    def run(_):
        raise NotReady("Port 1 is taken.\nThe disk is full.")

    monkeypatch.setattr("streams.synthetic.demo.run", run)
    done = invoke("demo")
    assert done.exit_code == 2
    assert done.stderr.splitlines() == ["Port 1 is taken.", "The disk is full."]


@pytest.fixture
def letters(monkeypatch):
    """Dead letters of two reasons, one of them sent again; and what was replayed."""
    replayed = []
    letters = [
        Letter(
            id_, f"declarations/0/{id_}", "declarations", reason, "bad", b"[red]\x1bkey\n", None, ()
        )
        for id_, reason in (("1", "schema_unknown"), ("2", "value_not_avro"))
    ]
    module = "streams.operations.dead_letters"
    monkeypatch.setattr(f"{module}.read_letters", lambda _: iter(letters))
    monkeypatch.setattr(f"{module}.read_replays", lambda _: {letters[0].event: 1})

    def replay(_, choice, **options):
        replayed.append((choice, options["again"], options["limit"], options["dry_run"]))
        return Replayed(sent=1, sent_before=2, came_back=0, beyond_limit=3)

    monkeypatch.setattr(f"{module}.replay", replay)
    return replayed


def test_dead_letters_are_listed_by_reason(letters):
    """Keys come from outside: they are shown, never read as markup or by the terminal."""
    everything, some = (
        invoke("dead-letters", "list", *options).stdout
        for options in ((), ("--reason", "schema_unknown"))
    )
    assert everything.splitlines() == [
        "1  declarations/0/1  schema_unknown  tried ? times, sent again: yes",
        "    key [red]�key�: bad",
        "2  declarations/0/2  value_not_avro  tried ? times, sent again: no",
        "    key [red]�key�: bad",
    ]
    assert everything.startswith(some)
    assert "/0/1" not in invoke("dead-letters", "list", "--id", "2").stdout


def test_dead_letters_are_listed_without_a_registry(letters, monkeypatch):
    """Only whether they were sent again is not known then."""

    def down(_):
        raise RegistryFailed("It does not answer.")

    monkeypatch.setattr("streams.operations.dead_letters.read_replays", down)
    done = invoke("dead-letters", "list")
    assert done.exit_code == 0
    assert done.stderr == "Which were sent again is not known. It does not answer.\n"
    assert "sent again: ?" in done.stdout


def test_a_replay_can_be_restricted_and_a_dry_run_only_counts(letters):
    """It says what was left out, and why."""
    done = invoke("dead-letters", "replay", "--reason", "schema_unknown", "--dry-run")
    assert done.stdout.splitlines() == [
        "1 would be sent again.",
        "Left out: 2 were sent again before.",
        "Left out: 3 are left: see --limit.",
    ]
    done = invoke("dead-letters", "replay", "--id", "1", "--again", "--limit", "4")
    assert done.stdout.startswith("1 were sent again.\n")
    assert letters == [
        (Choice(reason="schema_unknown"), False, None, True),
        (Choice(ids=frozenset({"1"})), True, 4, False),
    ]


def test_a_replay_of_everything_is_refused(letters):
    """Exit code 2 and what to give."""
    done = invoke("dead-letters", "replay")
    assert (done.exit_code, letters) == (2, [])
    assert done.stderr == "Give --reason, --topic or --id: what is to be sent again.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--strategy", "x"), "No strategy x; there are risk, hybrid, random"),
        (("--rate", "0.01", "--random", "0.02"), "--random is a part of --rate"),
    ],
)
def test_a_simulation_that_makes_no_sense_is_refused(tmp_path, options, message):
    """Exit code 2 and why."""
    done = invoke("simulate", "--declarations", str(tmp_path), *options)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)


def test_the_kinds_of_fusion_are_those_of_the_network():
    """The command line names them without importing torch."""
    assert {kind.value for kind in Fusion} == set(KINDS)


def test_the_doctor_answers_in_json(monkeypatch):
    """For a probe in a container: the same findings, the same exit status."""
    findings = [Finding("Kafka", detail="1 broker(s)"), Finding("Redis", problem="no", remedy="do")]
    monkeypatch.setattr(doctor, "examine", lambda _: findings)
    done = invoke("doctor", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == [
        {"part": "Kafka", "detail": "1 broker(s)", "problem": None, "remedy": ""},
        {"part": "Redis", "detail": "", "problem": "no", "remedy": "do"},
    ]


def test_the_doctor_needs_no_home_and_writes_nothing(tmp_path):
    """As in a container with a read-only root and no user of its own."""
    tmp_path.chmod(0o555)
    settings = {
        "REDLANE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "REDLANE_REGISTRY_URL": "http://127.0.0.1:1",
        "REDLANE_REDIS_URL": "redis://127.0.0.1:1/0",
        "REDLANE_S3_ENDPOINT": "http://127.0.0.1:1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
    }
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "doctor", "--json"],
        env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert {finding["part"] for finding in json.loads(done.stdout)} >= {"Kafka", "Redis"}
    assert list(tmp_path.iterdir()) == []
