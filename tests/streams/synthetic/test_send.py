"""Sending: what a service does not take ends it with a reason."""

from types import SimpleNamespace

import pytest

from schemas.records import Declaration
from streams.kafka.delivery import NotDelivered
from streams.local.process import LOOPBACK, free_port
from streams.settings import Settings
from streams.synthetic import send
from streams.synthetic.irregularities import Consignment, Truth


def test_a_photo_that_storage_does_not_take_is_one_line(monkeypatch, tmp_path):
    """With the setting to check."""
    monkeypatch.setattr(send, "Registry", lambda _: SimpleNamespace(schema_id=lambda _: 1))
    settings = Settings(
        s3_endpoint=f"http://{LOOPBACK}:{free_port()}",
        s3_access_key_id="key",
        s3_secret_access_key="secret",  # noqa: S106 - of nothing
    )
    declaration = Declaration(declaration_id="D1")
    consignment = Consignment(
        declaration, lambda _: b"", {"shoe.jpg": b"jpeg"}, Truth("D1", "clean", 0, "")
    )
    with pytest.raises(NotDelivered) as caught:
        send.send(settings, [consignment], rate=0, truth=tmp_path / "truth.jsonl")
    assert "\n" not in str(caught.value)
    assert "Check REDLANE_S3_ENDPOINT" in str(caught.value)
