"""The support bundle: what helps, and nothing about anybody."""

import asyncio
import json
import stat
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from confluent_kafka import Producer
from prometheus_client import generate_latest
from typer.testing import CliRunner

from streams import metrics
from streams.cli import app
from streams.kafka.dead_letter import dead_letter
from streams.operations import support_bundle
from streams.operations.support_bundle import (
    collect,
    log_lines,
    shown_settings,
    worker_metrics,
    write,
)
from streams.settings import Settings
from tests.fakes import inbound
from tests.streams.following import Following, delivered, named
from tests.streams.stages.test_screen import risky
from tests.streams.test_logs import written_lines

CANARY = "Canary Peeters"
WORD = "Canarypeeters"
SECRETS = {
    "kafka_password": f"{WORD}1",
    "kafka_username": f"{WORD}2",
    "redis_url": f"redis://user:{WORD}3@127.0.0.1:1/0",
    "registry_url": f"http://user:{WORD}4@127.0.0.1:1/apis?token={WORD}4",
    "registry_token": f"{WORD}5",
    "s3_access_key_id": f"{WORD}6",
    "s3_secret_access_key": f"{WORD}7",
    "pseudonym_key": f"{WORD}8",
    "selection_key": f"{WORD}9",
    "console_database_url": f"postgresql://u:{WORD}10@db/x",
    "console_proxy_secret": f"{WORD}11",
    "traces_endpoint": f"http://u:{WORD}12@127.0.0.1:1/v1/traces",
    "bundle": f"/home/{WORD}/bundle",
    "kafka_bootstrap_servers": "127.0.0.1:1",
    "s3_endpoint": "http://127.0.0.1:1",
}


@pytest.fixture
def served():
    """Serves a text; returns its URL."""
    servers = []

    def serve(text):
        class Worker(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Worker)
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/metrics"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_secrets_are_told_as_set_or_not():
    """Users and passwords of addresses and paths of files are left out, too."""
    shown = shown_settings(Settings(**SECRETS))
    assert WORD not in json.dumps(shown, default=str)
    assert (shown["pseudonym_key"], shown["console_proxy_secret"]) == ("set", "set")
    assert shown["registry_url"] == "http://127.0.0.1:1/apis"
    assert shown["batch_size"] == 16
    assert "kafka_password" in (
        name for name, value in shown_settings(Settings()).items() if value == "not set"
    )
    assert shown.keys() == Settings.model_fields.keys()


async def test_of_a_log_only_what_our_code_writes_is_kept(tmp_path):
    """Not who was declared, whatever a line, a field, or another program says."""
    following = Following()
    with written_lines("DEBUG") as written:
        await following.screened(risky(0.9, description=f"{CANARY} RISK 0.9"))
        await following.through("screen", inbound(value=b"x", key=CANARY.encode()))
    foreign = [
        {"logger": "aiokafka.cluster", "level": "warning", "event": f"no {CANARY}"},
        {"logger": WORD, "event": WORD, "error": WORD, "reason": WORD, "service": WORD},
        {"logger": "streams.stages.screen", "event": "dead letter", "error": WORD, "offset": WORD},
        {"logger": "streams.stages.screen", "event": CANARY, WORD: WORD, "stage": [WORD]},
        [CANARY],
    ]
    log = tmp_path / "worker.log"
    log.write_text("\n".join([*map(json.dumps, [*written, *foreign]), CANARY]))
    kept = log_lines(log, 1000)
    assert CANARY not in json.dumps(kept)
    assert WORD not in json.dumps(kept)
    assert "D1" not in json.dumps(kept)
    assert {"event": "dead letter", "reason": "value_not_avro"}.items() <= kept[1].items()
    assert kept[-1] == {"other_lines": 2}
    assert log_lines(log, 1) == [{"other_lines": 1}]


def test_of_a_worker_only_our_metrics_are_kept(served):
    """Those of its process, too; whatever else its address may serve is left out."""
    metrics.DECLARATIONS.labels("red").inc(0)
    text = generate_latest().decode() + (
        f'trader_total{{name="{CANARY}"}} 1\n'
        f'redlane_declarations_total{{fate="{CANARY}"}} 1\n'
        f'redlane_declarations_total{{name="x{WORD}"}} 1\n'
    )
    kept = worker_metrics(served(text.encode()))
    assert CANARY not in json.dumps(kept)
    assert WORD not in json.dumps(kept)
    assert {"redlane_declarations_total", "process_start_time_seconds"} <= {
        sample["name"] for sample in kept
    }
    with pytest.raises(ValueError, match="not HTTP"):
        worker_metrics("file:///etc/passwd")


def test_where_nothing_runs_the_parts_that_fail_say_so(tmp_path, monkeypatch):
    """What there is, is there; and no password is in it."""
    for name in ("examine", "measure", "read_letters"):  # each waits for services
        monkeypatch.setattr(support_bundle, name, _fails)
    monkeypatch.setattr(support_bundle, "topics", _fails)
    parts = {part.name: part for part in collect(Settings(**SECRETS), logs=[tmp_path / "gone"])}
    assert json.loads(parts["versions.json"].content)["redlane"]
    for name in ("doctor.json", "lag.json", "topics.json", "dead-letters.json", "log-0.json"):
        assert parts[name].what.startswith("left out: ")
    everything = b"".join(part.content for part in parts.values())
    assert WORD.encode() not in everything
    write(tmp_path / "support.zip", list(parts.values()))
    assert stat.S_IMODE((tmp_path / "support.zip").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write(tmp_path / "support.zip", [])


def _fails(*_):
    raise ConnectionError(f"{CANARY} {WORD}")


async def test_no_event_and_nobody_is_in_the_bundle_of_a_whole_stack(stack, tmp_path, served):
    """A canary in events, keys, headers, logs and metrics; the command prints what it collects."""
    following = Following()
    with written_lines("DEBUG") as written:
        events = await following.screened(risky(0.9, description=f"{CANARY} BUG RISK 0.9"))
        await following.through("explain", delivered(named(events, "alerts")))
    log = tmp_path / "screen.log"
    log.write_text("\n".join(map(json.dumps, written)))
    bad = inbound(value=CANARY.encode(), key=CANARY.encode(), headers=(("ce_id", CANARY.encode()),))
    letter = dead_letter(bad, ValueError(CANARY), stage="screen", bundle_id="")
    producer = Producer(stack.settings().confluent())
    producer.produce(
        "dead-letters", key=letter.key, value=letter.value, headers=list(letter.headers)
    )
    producer.produce("inspection-outcomes", key=CANARY.encode(), value=CANARY.encode())
    assert producer.flush(20) == 0
    out = tmp_path / "support.zip"
    arguments = ["support-bundle", str(out), "--logs", str(log)]
    arguments += ["--metrics", served(generate_latest())]
    done = await asyncio.to_thread(  # a command has an event loop of its own
        CliRunner().invoke, app, arguments, env=stack.environment()
    )
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(out) as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    for name, text in texts.items():
        assert name in done.stdout
        assert CANARY not in text, name
        assert "Peeters" not in text, name
        for value in stack.environment().values():
            assert len(value) < 20 or "://" in value or value not in text, name
    counts = json.loads(texts["dead-letters.json"])
    assert {
        "topic": "declarations",
        "stage": "screen",
        "reason": "screening_failed",
    }.items() <= next(
        each
        for each in counts
        if each["stage"] == "screen" and each["reason"] == "screening_failed"
    ).items()
    assert json.loads(texts["topics.json"])["declarations"]["config"]["message.timestamp.type"]
    assert {group["group"] for group in json.loads(texts["lag.json"])} == {
        "redlane-intake", "redlane-screen", "redlane-explain", "redlane-learn",
    }  # fmt: skip
    assert all("left out" not in line for line in done.stdout.splitlines())
