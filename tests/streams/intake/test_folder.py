"""Files of a folder: each is sent once it is complete, and moved once Kafka has it."""

import json
import os

import pytest

from streams.intake import folder as module
from streams.intake.folder import Folder
from streams.kafka.delivery import NotDelivered
from streams.settings import Settings
from tests.streams.intake.messages import item, message

DECLARED = json.dumps({"declaration_id": "D1", "goods_items": [{"sequence_number": 1}]}).encode()


class Broker:
    """Stands for Kafka: keeps what it took, or takes nothing."""

    def __init__(self):
        self.events = []
        self.answers = True

    def produce(self, topic, *, on_delivery, **event):
        if self.answers:
            self.events.append((topic, event))
            on_delivery(None, None)

    def poll(self, _within_s):
        """Nothing to do."""

    def flush(self, _within_s):
        return 0 if self.answers else 1

    @property
    def keys(self):
        return [event["key"] for _, event in self.events]


@pytest.fixture
def broker(monkeypatch):
    broker = Broker()
    monkeypatch.setattr(module, "producer", lambda *_, **__: broker)
    return broker


def looks(path, *, times=2):
    """Look into a folder with a new process; returns how many files the last look sent."""
    folder = Folder(Settings(), path)
    return [folder.look() for _ in range(times)][-1]


def names(path):
    return sorted(one.name for one in path.iterdir())


def test_what_is_there_is_sent_and_moved(tmp_path, broker):
    """XML and JSON under their references, the oldest first; the rest stays where it is."""
    files = {"b.xml": message(item()), "a.JSON": DECLARED, "c.json": b"{", "d.xml": b""}
    for number, (name, content) in enumerate(files.items()):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, ns=(0, number))
    for name in (".hidden.xml", "~b.xml", "b.xml.part", "c.tmp", "notes.txt"):
        (tmp_path / name).write_bytes(DECLARED)
    (tmp_path / "folder.xml").mkdir()
    assert looks(tmp_path) == 4
    assert {topic for topic, _ in broker.events} == {"customs-messages"}
    assert broker.keys == [b"LRN1", b"D1", b"c.json", b"d.xml"]
    assert [event["value"] for _, event in broker.events] == list(files.values())
    headers = [dict(event["headers"]) for _, event in broker.events]
    assert headers[0]["content-type"] == b"application/xml"
    assert headers[1]["content-type"] == b"application/json"
    assert names(tmp_path / "done") == ["a.JSON", "b.xml"]
    assert names(tmp_path / "failed") == ["c.json", "d.xml"]
    assert looks(tmp_path) == 0
    assert len(broker.events) == 4


def test_a_file_that_is_being_written_waits(tmp_path, broker):
    """It is sent once it is the same at two looks."""
    folder, file = Folder(Settings(), tmp_path), tmp_path / "a.json"
    file.write_bytes(DECLARED[:10])
    assert folder.look() == 0
    file.write_bytes(DECLARED)
    assert folder.look() == 0
    assert folder.look() == 1
    assert broker.events[0][1]["value"] == DECLARED


@pytest.mark.parametrize("way", ["replaced", "written", "removed"])
def test_a_file_that_changes_while_it_is_sent_loses_nothing(tmp_path, broker, monkeypatch, way):
    """What stands under its name then is not taken for what was sent."""
    file, newer = tmp_path / "a.json", DECLARED.replace(b"D1", b"D2")
    file.write_bytes(DECLARED)
    produce = broker.produce

    def change(topic, **event):
        monkeypatch.setattr(broker, "produce", produce)
        produce(topic, **event)
        if way == "replaced":
            (tmp_path / "b.part").write_bytes(newer)
            (tmp_path / "b.part").replace(file)
        elif way == "written":
            file.write_bytes(newer + b" ")
        else:
            file.unlink()

    monkeypatch.setattr(broker, "produce", change)
    assert looks(tmp_path) == 1
    assert looks(tmp_path) == (0 if way == "removed" else 1)
    assert broker.keys == ([b"D1"] if way == "removed" else [b"D1", b"D2"])


def test_a_broker_that_does_not_answer_loses_nothing(tmp_path, broker):
    """The files stay, and are sent again under the same id."""
    (tmp_path / "a.json").write_bytes(DECLARED)
    broker.answers = False
    with pytest.raises(NotDelivered):
        looks(tmp_path)
    assert names(tmp_path) == ["a.json", "done", "failed"]
    broker.answers = True
    assert looks(tmp_path) == 1
    (tmp_path / "done" / "a.json").rename(tmp_path / "a.json")  # as if it had not been moved
    assert looks(tmp_path) == 1
    first, again = (dict(event["headers"])["ce_id"] for _, event in broker.events)
    assert first == again


def test_no_link_is_followed(tmp_path, broker):
    """Not to a file elsewhere, and not to one that is a pipe."""
    outside = tmp_path / "secret"
    outside.write_bytes(DECLARED)
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "a.json").symlink_to(outside)
    os.mkfifo(inside / "b.json")
    assert looks(inside) == 0
    with pytest.raises(OSError, match=r"a\.json"):
        module._content(inside / "a.json")  # as if it had become a link after the look
    assert names(inside) == ["a.json", "b.json", "done", "failed"]


def test_too_large_a_file_is_set_aside(tmp_path, broker, monkeypatch):
    """It is not sent, and not read to its end."""
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    (tmp_path / "a.json").write_bytes(DECLARED)
    assert looks(tmp_path) == 0
    assert broker.events == []
    assert names(tmp_path / "failed") == ["a.json"]


def test_a_name_that_comes_again_replaces_no_other_file(tmp_path, broker):
    """Another message of the same name is kept beside the first."""
    for content in (DECLARED, DECLARED + b" ", DECLARED + b" "):
        (tmp_path / "a.json").write_bytes(content)
        assert looks(tmp_path) == 1
    assert len(names(tmp_path / "done")) == 2
    assert (tmp_path / "done" / "a.json").read_bytes() == DECLARED


def test_once_says_how_many_files_are_left(tmp_path, broker, monkeypatch):
    """Here one that cannot be read."""
    (tmp_path / "a.json").write_bytes(DECLARED)
    (tmp_path / "b.json").write_bytes(DECLARED.replace(b"D1", b"D2"))
    content = module._content

    def forbid(path):
        if path.name == "b.json":
            raise PermissionError(13, "Permission denied")
        return content(path)

    monkeypatch.setattr(module, "_content", forbid)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0)
    assert Folder(Settings(), tmp_path).run(once=True) == 1
    assert broker.keys == [b"D1"]
    monkeypatch.setattr(module, "_content", content)
    assert Folder(Settings(), tmp_path).run(once=True) == 0
