"""alerts and explanations → webhooks: each to its receiver or a dead letter, in order of a key."""

import json
from dataclasses import replace

import pytest

from schemas import codec
from schemas.codec import Undecodable, encode
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.topics import ALERTS, DEAD_LETTERS, EXPLANATIONS
from streams.kafka.dead_letter import is_fault
from streams.kafka.events import FATE, Inbound
from streams.stages.deliver import Deliver
from streams.webhook.receiver import ReceiverFailed

ALERT = next(record for _, record in examples("alert"))
EXPLANATION = next(record for _, record in examples("explanation"))
WRITERS = {7: codec.schema("alert"), 8: codec.schema("explanation")}


class Receiver:
    """Takes events; those of a subject in `refused` never, and none once it is down."""

    def __init__(self, *refused, down=False):
        self.refused = refused
        self.down = down
        self.taken = []

    async def deliver(self, topic, event):
        body = json.loads(event.body)
        assert topic == f"{body['type'].removeprefix('redlane.')}s"
        if self.down:
            raise ReceiverFailed("status 500")
        if body["subject"] in self.refused:
            raise Undecodable(Reason.DELIVERY_REFUSED, "status 422")
        self.taken.append((body["subject"], event.id))


def stage(receiver):
    def decode(topic, value, kind):
        return codec.decode(value, kind, WRITERS, topic.max_value_mb << 20)

    return Deliver(decode=decode, receiver=receiver)


def event(offset, declaration_id="D1", *, topic=ALERTS, value=None):
    record, id_ = (ALERT, 7) if topic is ALERTS else (EXPLANATION, 8)
    if value is None:
        value = encode(replace(record, declaration_id=declaration_id), id_)
    return Inbound(
        topic=topic.name,
        partition=0,
        offset=offset,
        key=declaration_id.encode(),
        value=value,
        timestamp=1.0,
        headers=(("ce_id", f"e{offset}".encode()), (FATE, b"f")),
    )


async def test_each_is_delivered_in_the_order_of_its_key():
    """Of both topics."""
    receiver = Receiver()
    batch = [event(1), event(2, "D2"), event(3), event(4, topic=EXPLANATIONS), event(5, "D2")]
    assert await stage(receiver)(batch) == [()] * 5
    assert sorted(receiver.taken) == [("D1", "e1"), ("D1", "e3"), ("D1", "e4"), ("D2", "e2"), ("D2", "e5")]  # fmt: skip
    for key in ("D1", "D2"):
        ids = [id_ for subject, id_ in receiver.taken if subject == key]
        assert ids == sorted(ids)


async def test_what_is_not_taken_becomes_a_dead_letter_and_holds_up_nothing():
    """One that can be sent again; what is no event, too. Many that are refused stop the worker."""
    receiver = Receiver("D2")
    batch = [event(1), event(2, "D2"), event(3, value=b"nonsense"), event(4)]
    results = await stage(receiver)(batch)
    assert [subject for subject, _ in receiver.taken] == ["D1", "D1"]
    assert results[0] == results[3] == ()
    (refused,), (no_event,) = results[1:3]
    for letter, code, retryable in (
        (refused, b"delivery_refused", b"true"),
        (no_event, b"value_not_avro", b"false"),
    ):
        headers = dict(letter.headers)
        assert letter.topic is DEAD_LETTERS
        assert headers["x_dlq.reason"] == code
        assert headers["x_dlq.stage"] == b"deliver"
        assert headers["x_dlq.retryable"] == retryable
    assert refused.value == batch[1].value
    assert is_fault(refused)
    assert not is_fault(no_event)


async def test_a_receiver_that_takes_nothing_stops_the_worker():
    """No dead letters: what it has not taken is delivered after the restart."""
    with pytest.raises(ExceptionGroup) as caught:
        await stage(Receiver(down=True))([event(1), event(2, "D2")])
    assert caught.group_contains(ReceiverFailed)
