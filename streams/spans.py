"""Traces (OpenTelemetry): a span of what a stage does with an event, and one of each of its steps.

A stage handles events in micro-batches, so the steps of a micro-batch are spans in the trace of
each of its events. What an event leads to carries its span on (`traceparent`), so that declaration,
alert and explanation are one trace.

Only a worker that has an exporter imports this module: it needs the extra `tracing`.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streams import steps

EXPORT_S: Final = 5.0
"""Longest wait for who takes traces. What he does not take is lost: no event waits for a trace."""


def processor(exporter: str, endpoint: str) -> SpanProcessor:
    """Return what exports spans.

    Args:
        exporter: `otlp` or `console` (standard error, a span at a time).
        endpoint: URL that takes OTLP over HTTP.
    """
    if exporter == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr))
    return BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=EXPORT_S))


class EventSpans:
    """The spans of a micro-batch, one for each event."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    @property
    def traceparents(self) -> list[str | None]:
        """What the events lead to carries these; None keeps the event's own: it is not sampled."""
        return [_traceparent(span) if span.is_recording() else None for span in self._spans]

    def describe(self, number: int, attributes: Mapping[str, str | int], fault: str | None) -> None:
        """Say what the span of an event is about.

        Args:
            number: of the event.
            attributes: without personal data.
            fault: reason code of its dead letter; None where it has none.
        """
        span = self._spans[number]
        span.set_attributes(dict(attributes))
        if fault is not None:
            span.set_status(Status(StatusCode.ERROR, fault))


class Traces:
    """Makes the spans of one stage."""

    def __init__(self, exports: SpanProcessor, stage: str, *, share: float = 1.0) -> None:
        """Take what exports the spans.

        Args:
            exports: see `processor`.
            stage: its name.
            share: of the traces that is kept. All stages keep the same ones: they go by the id of
                the trace, even where the sender keeps more.
        """
        by_id = TraceIdRatioBased(share)
        provider = TracerProvider(
            sampler=ParentBased(by_id, remote_parent_sampled=by_id),
            resource=Resource.create(
                {"service.name": f"redlane-{stage}", "service.version": version("redlane")}
            ),
        )
        provider.add_span_processor(exports)
        self._tracer = provider.get_tracer("redlane")
        self._stage = stage

    @contextmanager
    def events(self, parents: Sequence[str | None]) -> Iterator[EventSpans]:
        """Make the spans of a micro-batch, from here to the end of the block.

        Args:
            parents: traceparent of each event; None or an empty one begins a new trace.
        """
        spans = [
            self._tracer.start_span(self._stage, context=_context(parent), kind=SpanKind.CONSUMER)
            for parent in parents
        ]
        with steps.collected() as collected:
            try:
                yield EventSpans(spans)
            finally:
                for span in spans:
                    if span.is_recording():
                        self._add_steps(span, collected)
                    span.end()

    def _add_steps(self, span: Span, collected: Mapping[str, steps.Step]) -> None:
        inside = set_span_in_context(span)
        for name, step in collected.items():
            attributes = {"redlane.busy_s": round(step.busy_s, 6), "redlane.slices": step.slices}
            self._tracer.start_span(
                name, context=inside, start_time=step.start, attributes=attributes
            ).end(step.end)


def _context(traceparent: str | None) -> Context:
    # An empty context, else a span that is current here would be the parent.
    carrier = {"traceparent": traceparent or ""}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
