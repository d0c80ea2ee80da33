"""Screening on real services: no reference to a photo stops a worker."""

import time
from dataclasses import replace

from models.datasets.goods import read
from schemas import codec
from schemas.records import ImageReference
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run, send
from tests.chaos.verifier import committed, read_all
from tests.conftest import ready
from tests.streams.evidence.test_photos import POISON

GROUP = "redlane-screen"
URIS = [uri for uri in POISON if "\ud800" not in uri and len(uri) < 100_000]
"""Without what no event can hold."""


def referring(consignment, uri):
    """The consignment, with a reference of its first goods item in place of its photos."""
    first, *others = consignment.declaration.goods_items
    items = (replace(first, images=(ImageReference(uri=uri),)), *others)
    declaration = replace(consignment.declaration, goods_items=items)
    return replace(
        consignment,
        declaration=declaration,
        value=lambda schema_id: codec.encode(declaration, schema_id),
    )


def test_no_reference_stops_a_worker(stack, goods_folder, start_worker):
    """Control characters, empty segments, other schemes: an assessment each, and a clean exit."""
    settings = stack.settings()
    source = Irregularities(
        read(goods_folder),
        bucket=settings.s3_buckets[0],
        run=new_run(),
        seed=5,
        shares={"clean": 1.0},
    )
    consignments = [
        referring(*pair) for pair in zip(source.consignments(len(URIS)), URIS, strict=True)
    ]
    ids = {consignment.declaration.declaration_id.encode() for consignment in consignments}
    worker = start_worker()
    worker.wait_until(lambda: ready(worker), within_s=90)
    before = sum(committed(settings, GROUP).values())
    sent = send(settings, consignments, rate=0, truth=None)
    deadline = time.monotonic() + 60
    while sum(committed(settings, GROUP).values()) < before + sent:
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.5)
    assert worker.stop() == 0
    seen = read_all(settings)
    assert ids <= seen.fates.keys()
    assert not ids & seen.reasons.keys()
    log = worker.log.read_text()
    assert "Traceback" not in log, worker.tail()
    assert "Unclosed" not in log, worker.tail()
