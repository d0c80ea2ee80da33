"""Traces: one from the declaration to its explanation, and nothing where nobody asked for them."""

import json
import subprocess
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streams import steps
from streams.kafka.worker import traces
from streams.settings import NotConfigured, Settings
from streams.spans import Traces, processor
from tests.fakes import inbound
from tests.streams.following import TRACE, TRACE_ID, TRACED, Following, delivered, named
from tests.streams.stages.test_screen import risky

SENT_BY = int(TRACE[36:52], 16)
"""The span of the customs system that sent the declaration."""


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def following(exporter):
    return Following(lambda stage: Traces(SimpleSpanProcessor(exporter), stage))


def by_stage(exporter):
    """Stage → its span and the names of its steps; checks that the steps lie within it."""
    spans = exporter.get_finished_spans()
    stages = {span.name: span for span in spans if span.name in {"screen", "explain", "learn"}}
    names = defaultdict(set)
    for span in spans:
        if span.name in stages:
            continue
        (stage,) = (s for s in stages.values() if s.context.span_id == span.parent.span_id)
        assert stage.start_time - 1e9 <= span.start_time <= span.end_time <= stage.end_time
        names[stage.name].add(span.name)
    return stages, names


async def test_declaration_alert_and_explanation_are_one_trace(following, exporter):
    """The parent of each stage's span is that of the stage before; of the first, the sender's."""
    alert = named(await following.screened(risky(0.9)), "alerts")
    explanation = named(await following.through("explain", delivered(alert)), "explanations")
    stages, names = by_stage(exporter)
    assert {span.context.trace_id for span in exporter.get_finished_spans()} == {int(TRACE_ID, 16)}
    assert stages["screen"].parent.span_id == SENT_BY
    assert stages["explain"].parent.span_id == stages["screen"].context.span_id
    carried = dict(explanation.headers)["traceparent"].decode()
    assert carried == f"00-{TRACE_ID}-{stages['explain'].context.span_id:016x}-01"
    assert names == {
        "screen": {"decode", "fetch", "embed", "signals", "score", "decide", "publish"},
        "explain": {
            "decode", "declaration", "fetch", "embed", "signals", "explanation", "heat_maps",
            "publish",
        },
    }  # fmt: skip
    assert stages["screen"].attributes["redlane.declaration_id"] == "D1"
    assert stages["screen"].attributes["redlane.published"] == "assessments,alerts"
    assert stages["screen"].resource.attributes["service.name"] == "redlane-screen"


async def test_each_event_of_a_micro_batch_stays_in_its_own_trace(following, exporter):
    """One without a traceparent begins a trace; a dead letter keeps what was received."""
    events = await following.screened(
        risky(0.1, 1),
        inbound(risky(0.1, 2), offset=6),
        inbound(value=b"Ann Peeters", key=b"Ann Peeters", offset=7),
    )
    spans = [span for span in exporter.get_finished_spans() if span.name == "screen"]
    assert len({span.context.trace_id for span in spans}) == 3
    assert {span.attributes["redlane.published"] for span in spans} == {
        "assessments",
        "dead-letters",
    }
    (failed,) = (span for span in spans if not span.status.is_ok and span.status.description)
    assert failed.status.description == "value_not_avro"
    assert "traceparent" not in dict(named(events, "dead-letters").headers)
    assert "Peeters" not in "".join(span.to_json() for span in exporter.get_finished_spans())


async def test_no_party_and_no_text_is_in_a_trace(following, exporter):
    """Identifications, places, codes and times alone."""
    declaration = risky(0.9, description="CANARY RISK 0.9")
    alert = named(await following.screened(declaration), "alerts")
    await following.through("explain", delivered(alert))
    written = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert "CANARY" not in written
    parties = [declaration.importer, declaration.declarant, declaration.seller]
    assert all(party.name not in written for party in parties if party and party.name)


async def test_without_traces_values_and_headers_are_as_they_were():
    """The same bytes; the sender's traceparent is carried through, and none is made up."""
    traced = Following(lambda stage: Traces(SimpleSpanProcessor(InMemorySpanExporter()), stage))
    untraced = Following()
    for headers in (TRACED, ()):
        plain = await untraced.screened(risky(0.9), headers=headers)
        assert [dict(e.headers).get("traceparent") for e in plain] == 2 * [
            TRACE.encode() if headers else None
        ]
        others = await traced.screened(risky(0.9), headers=headers)
        assert [e.value for e in plain] == [e.value for e in others]
        assert [dict(e.headers)["ce_id"] for e in plain] == [
            dict(e.headers)["ce_id"] for e in others
        ]


async def test_what_is_not_sampled_keeps_its_traceparent(exporter):
    """All stages keep the same share of the traces, whatever the sender keeps."""
    none = Following(lambda stage: Traces(SimpleSpanProcessor(exporter), stage, share=0.0))
    alert = named(await none.screened(risky(0.9)), "alerts")
    assert dict(alert.headers)["traceparent"] == TRACE.encode()
    assert exporter.get_finished_spans() == ()
    unwanted = TRACE[:-2] + "00"
    every = Following(lambda stage: Traces(SimpleSpanProcessor(exporter), stage))
    await every.screened(risky(0.9), headers=(("traceparent", unwanted.encode()),))
    assert exporter.get_finished_spans() == ()


def test_slices_of_a_step_are_one_span():
    """A declaration of 999 goods items has no more spans than a small one."""
    with steps.collected() as collected:
        for _ in range(300):
            steps.add("embed", 0.25)
    steps.add("embed", 1.0)
    (step,) = collected.values()
    assert (step.slices, step.busy_s) == (300, 75.0)
    assert step.start < step.end


def test_spans_go_to_the_endpoint_over_http():
    """OTLP, as a collector takes it."""
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    exports = processor("otlp", f"http://127.0.0.1:{server.server_port}/v1/traces")
    with Traces(exports, "screen").events([TRACE]) as spans:
        spans.describe(0, {"redlane.declaration_id": "D1"}, None)
    exports.shutdown()
    server.shutdown()
    server.server_close()
    ((path, kind, body),) = received
    assert (path, kind) == ("/v1/traces", "application/x-protobuf")
    assert bytes.fromhex(TRACE_ID) in body
    assert b"redlane-screen" in body


def test_the_console_exporter_writes_to_standard_error(capsys):
    """Standard output is left to commands."""
    with Traces(processor("console", ""), "learn").events([None]):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["name"] == "learn"


def test_off_is_the_default_and_imports_nothing():
    """A worker without traces needs no package of OpenTelemetry."""
    assert traces(Settings(), "screen") is None
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from streams.settings import NotConfigured, Settings\n"
        "from streams.kafka.worker import traces\n"
        "assert traces(Settings(), 'screen') is None\n"
        "try: traces(Settings(traces='otlp'), 'screen')\n"
        "except NotConfigured as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "redlane[tracing]" in done.stdout


def test_a_share_or_an_endpoint_that_cannot_be_is_refused():
    for wrong in ({"traces_share": 1.5}, {"traces_endpoint": "collector:4318"}, {"traces": "yes"}):
        with pytest.raises(NotConfigured, match=r"REDLANE_TRACES"):
            Settings(**wrong)
