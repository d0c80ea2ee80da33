"""Events with a header whose name is no UTF-8 are read, and so are their neighbours."""

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

from streams.kafka.transport import LenientRecords, read_leniently


class Name(str):
    """A header's name in bytes that are no UTF-8."""

    __slots__ = ()

    def encode(self, *_encoding):
        return b"h\xff"


def batch(compression, *names):
    """A batch as fetched: an event for each name of a header."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=compression, is_transactional=0, producer_id=-1,
        producer_epoch=-1, base_sequence=-1, batch_size=1 << 20,
    )  # fmt: skip
    for offset, name in enumerate(names):
        builder.append(
            offset, 1000 + offset, b"k%d" % offset, b"v" * 200, [(name, b"x"), ("n", None)]
        )
    return bytes(builder.build())


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
def test_a_name_that_is_no_utf8_is_replaced(compression):
    """Only in the name: keys, values and what follows are as sent."""
    fetched = batch(compression, "first", Name("broken"), "é") + batch(compression, Name("x"))
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(fetched).next_batch())
    records, events = LenientRecords(fetched), []
    while records.has_next():
        one = records.next_batch()
        assert one.validate_crc()
        events += list(one)
    assert [event.headers for event in events] == [
        [(name, b"x"), ("n", None)] for name in ("first", "h\ufffd", "é", "h\ufffd")
    ]
    assert [event.key for event in events] == [b"k0", b"k1", b"k2", b"k0"]
    assert {type(event.value) for event in events} == {bytes}
    assert {event.value for event in events} == {b"v" * 200}


def test_the_clients_reader_is_replaced(monkeypatch):
    """From the first such event on; it is slower."""
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    read_leniently()
    assert fetcher.MemoryRecords is LenientRecords
