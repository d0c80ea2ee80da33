"""One declaration without services: the fate that a worker would give it."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from schemas.codec import Undecodable
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import Declaration
from streams.evidence.photo_folder import PhotoFolder
from streams.operations.assess import Failed, assess, event_of
from tests.fakes import FakeScorer

LOW = dict(examples("declaration"))["declaration/low-value"]


@pytest.fixture
def photos(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(out, "JPEG")
    (tmp_path / "running-shoes.jpg").write_bytes(out.getvalue())
    return tmp_path


def risky(risk, **item):
    fields = {"description": f"SHOES RISK {risk}"} | item
    return replace(LOW, goods_items=(replace(LOW.goods_items[0], **fields),))


def assessed(declaration, folder=None):
    source = PhotoFolder(folder, max_bytes=10_000)
    return assess(event_of(declaration), FakeScorer(), source, photos_per_item=4)


@pytest.mark.parametrize(("risk", "lane"), [(0.1, "green"), (0.6, "yellow"), (0.9, "red")])
def test_the_bundles_thresholds_decide(photos, risk, lane):
    """No capacity, no profile, no chance."""
    verdict = assessed(risky(risk), photos)
    assert (verdict.lane, verdict.risk, verdict.selection.basis) == (lane, risk, "risk")
    assert verdict.declaration_id == LOW.declaration_id
    assert verdict.bundle_id == FakeScorer.bundle_id


def test_what_only_services_know_is_missing(photos):
    """The photo is there, other declarations are not."""
    verdict = assessed(risky(0.1), photos)
    assert [gap.code for gap in verdict.degraded] == [Reason.SIGNALS_UNAVAILABLE]
    assert verdict.items[0].modalities == ("text", "image")


@pytest.mark.parametrize(
    ("item", "missing"),
    [
        ({}, Reason.PHOTO_NOT_FOUND),
        ({"images": ()}, Reason.PHOTO_ABSENT),
        ({"images": LOW.goods_items[0].images * 5}, Reason.PHOTOS_TOO_MANY),
        ({"description": " "}, Reason.TEXT_ABSENT),
    ],
)
def test_missing_evidence_degrades_as_in_a_worker(item, missing):
    """With the same reasons."""
    assert missing in {gap.code for gap in assessed(risky(0.1, **item)).degraded}


def test_the_code_is_published_as_a_worker_would():
    """Without dots; none is none."""
    codes = ["8471.30", "84\u200d71\u206030 00", ""]
    published = [assessed(risky(0.1, commodity_code=code)).items[0] for code in codes]
    assert [item.commodity_code for item in published] == ["847130", "84713000", ""]


@pytest.mark.parametrize(
    ("declaration", "detail"),
    [
        (Declaration(), "declaration_id is empty"),
        (replace(LOW, goods_items=()), "there are 0 goods items, not 1 to 999"),
        (
            risky(0.1, commodity_code="laptop"),
            "goods item 1: its commodity_code is not 6, 8 or 10 digits",
        ),
    ],
)
def test_what_a_worker_refuses_is_refused(declaration, detail):
    """Before a model is needed."""
    with pytest.raises(Undecodable) as caught:
        event_of(declaration)
    assert (caught.value.reason, caught.value.detail) == (Reason.DECLARATION_INVALID, detail)


def test_a_declaration_that_is_too_large_is_refused():
    """By the size of its event."""
    with pytest.raises(Undecodable, match="value_too_large"):
        event_of(risky(0.1, product_title="x" * 2_000_000))


def test_a_fault_of_the_program_is_no_verdict():
    """A worker would make a dead letter of it."""
    with pytest.raises(Failed, match="screening_failed"):
        assessed(risky(0.1, description="CRASH"))
