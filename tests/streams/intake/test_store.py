"""Where ledgers are kept: the same suite for the fake and for object storage."""

import obstore
import pytest
from obstore.store import MemoryStore
from pydantic import SecretStr

from streams.intake.ledger import Ledger, Step, UnknownFormat
from streams.intake.store import Changed, S3Ledgers, StoreFailed, _key
from streams.settings import Settings

ONE = Ledger((Step("a", "a", None, "message_invalid", "why"),))
TWO = Ledger((*ONE.steps, Step("b", "b", None, "message_invalid", "why")))


@pytest.fixture(params=["fake", "seaweedfs"])
def ledgers(request):
    """Ledgers in memory, and in a bucket."""
    if request.param == "seaweedfs":
        return S3Ledgers(request.getfixturevalue("stack").settings())
    store = S3Ledgers(Settings())
    store._store = MemoryStore()
    return store


async def test_a_ledger_is_replaced_only_as_it_was_read(ledgers):
    """Two workers that read the same: the second reads again."""
    first = await ledgers.load("LRN/1 ä")
    assert (first.ledger, first.tag) == (Ledger(), None)
    await ledgers.save("LRN/1 ä", ONE, None)
    with pytest.raises(Changed):
        await ledgers.save("LRN/1 ä", TWO, None)
    read = await ledgers.load("LRN/1 ä")
    assert read.ledger == ONE
    await ledgers.save("LRN/1 ä", TWO, read.tag)
    with pytest.raises(Changed):
        await ledgers.save("LRN/1 ä", ONE, read.tag)
    assert (await ledgers.load("LRN/1 ä")).ledger == TWO
    assert (await ledgers.load("LRN/2")).ledger == Ledger()


async def test_marks_by_time(ledgers):
    """The oldest first, of several the same once."""
    for reference, since in (("m3", 3000.0), ("m1", 1000.5), ("m2", 2000.0), ("m1", 1000.5)):
        await ledgers.mark(reference, since)

    async def marked(before):
        return [one async for one in ledgers.marks(before)]

    assert [(one.reference, one.since) for one in await marked(2500.0)] == [
        ("m1", 1000.5),
        ("m2", 2000.0),
    ]
    for mark in await marked(2500.0):
        await ledgers.unmark(mark)
        await ledgers.unmark(mark)
    assert [one.reference for one in await marked(9000.0)] == ["m3"]


async def test_a_bucket_that_is_not_there_yet(stack):
    """Nothing waits in it: who takes JSON alone in needs none."""
    settings = stack.settings().model_copy(update={"s3_intake_bucket": "never-made"})
    assert [one async for one in S3Ledgers(settings).marks(9e9)] == []
    foreign = settings.model_copy(update={"s3_secret_access_key": SecretStr("wrong")})
    with pytest.raises(StoreFailed, match="SignatureDoesNotMatch"):
        assert [one async for one in S3Ledgers(foreign).marks(9e9)]


async def test_what_is_none_of_ours(ledgers):
    """Never taken for an empty ledger."""
    await obstore.put_async(ledgers._store, _key("foreign"), b"{}")
    with pytest.raises(UnknownFormat):
        await ledgers.load("foreign")


async def test_a_storage_that_does_not_answer():
    """An error that is tried again, of every call."""
    ledgers = S3Ledgers(Settings(s3_endpoint="http://127.0.0.1:9", photo_deadline_s=0.2))
    with pytest.raises(StoreFailed):
        await ledgers.load("a")
    with pytest.raises(StoreFailed):
        await ledgers.save("a", ONE, None)
    with pytest.raises(StoreFailed):
        await ledgers.mark("a", 1.0)
    with pytest.raises(StoreFailed):
        assert [one async for one in ledgers.marks(1.0)]
