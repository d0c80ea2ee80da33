"""`redlane convert`: a line per file, originals first, no service."""

import json
import os

import pytest
from typer.testing import CliRunner

from schemas import json_form
from schemas.records import Declaration
from streams.cli import app
from tests.streams.intake.messages import element, item, message, pointed


def convert(*arguments):
    """Run the command; return its status and output."""
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path):
    """An amendment before its original, one without, a cancellation, and what is no message."""
    changed = element(
        "GovernmentAgencyGoodsItem",
        element("SequenceNumeric", "1"),
        element("Commodity", element("Description", "Hair clippers")),
    )
    pointers = pointed(("42A", 1), ("67A", 1), ("68A", 1), ("23A", 1, "137"))
    change = {"function": "13", "mrn": "26GB1", "header": pointers}
    files = {
        "1-amendment.xml": message(changed, type_="COR", **change),
        "2-original.XML": message(item()),
        "3-orphan.xml": message(changed, type_="COR", lrn="LRN2", function="13"),
        "4-cancellation.xml": message(type_="INV", **change),
        "5-broken.xml": b"<a>",
        "6-empty.xml": b"",
        "7-without-goods.xml": message(lrn="LRN3"),
        "readme.txt": b"not read",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.xml.d").mkdir()
    return tmp_path


def test_a_folder(folder):
    """Every file in order, none forgotten; the amendment found its original."""
    status, output = convert(folder, "--json")
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [(one["file"][0], one["outcome"], one["reason"].partition(":")[0]) for one in lines] == [
        ("1", "amendment", ""),
        ("2", "declaration", ""),
        ("3", "amendment", "amendment_unmatched"),
        ("4", "cancellation", ""),
        ("5", "dead_letter", "message_not_xml"),
        ("6", "dead_letter", "value_empty"),
        ("7", "dead_letter", "declaration_invalid"),
    ]
    amended, original = (
        json_form.read(json.dumps(one["declaration"]), Declaration) for one in lines[:2]
    )
    assert (original.version, amended.version) == (1, 2)
    assert amended.goods_items[0].description == "Hair clippers"
    assert original.goods_items[0].description == "Electric shavers"


def test_json_beside_xml(folder):
    """As its sender says: version, status; alone or as a CloudEvent."""
    declared = {"declaration_id": "D", "goods_items": [{"sequence_number": 1}]}
    files = {
        "a.json": declared,
        "b.JSON": {
            "specversion": "1.0",
            "id": "1",
            "source": "/customs",
            "type": "t",
            "data": declared | {"version": 2, "status": "cancelled"},
        },
        "c.json": declared | {"version": 2},
        "d.json": declared | {"version": "2"},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / ".e.json").write_text("")
    status, output = convert(folder, "--json")
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [one["outcome"] for one in lines[:2]] == ["amendment", "declaration"]
    assert [(one["file"], one["outcome"], one["reason"]) for one in lines[7:]] == [
        ("a.json", "declaration", ""),
        ("b.JSON", "cancellation", ""),
        ("c.json", "amendment", ""),
        ("d.json", "dead_letter", "message_invalid: version is not of type integer"),
    ]
    assert lines[8]["declaration"]["version"] == 2


def test_for_a_person(folder):
    """A table and the counts."""
    status, output = convert(folder)
    assert status == 0
    assert "amendment 2, cancellation 1, dead_letter 3, declaration 1" in output


def test_what_a_terminal_is_shown(tmp_path):
    """No command to it, neither of a name nor of a message; and every reason to its end."""
    escape = "\x1b]0;t\x07"
    declared = {"declaration_id": f"D{escape}", "goods_items": [{"sequence_number": 1}]}
    (tmp_path / f"a{escape}.json").write_text(json.dumps(declared))
    (tmp_path / "b.json").write_text(json.dumps({"declaration_id": "D", "version": "1"}))
    status, output = convert(tmp_path)
    assert status == 0
    assert "\x1b" not in output
    assert "…" not in output


def test_a_name_that_is_no_text(tmp_path):
    """A line of JSON all the same."""
    (tmp_path / os.fsdecode(b"\xff.json")).write_text("{}")
    status, output = convert(tmp_path, "--json")
    assert status == 0
    assert json.loads(output)["file"] == "\N{REPLACEMENT CHARACTER}.json"


def test_one_file(folder):
    """Its declaration can be read back, and sent on."""
    status, output = convert(folder / "2-original.XML", "--json")
    assert status == 0
    assert json_form.read(json.dumps(json.loads(output)["declaration"]), Declaration).version == 1


def test_several_files(folder):
    """As a shell names them: the amendment finds its original."""
    status, output = convert(folder / "1-amendment.xml", folder / "2-original.XML", "--json")
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [(one["outcome"], one["declaration"]["version"]) for one in lines] == [
        ("amendment", 2),
        ("declaration", 1),
    ]


def test_a_folder_without_messages(tmp_path):
    """One line that says so."""
    status, output = convert(tmp_path)
    assert (status, output) == (1, f"{tmp_path}: there is no XML or JSON file.\n")


def test_a_schema_that_is_none(folder):
    """One line that names the file."""
    status, output = convert(folder, "--schema", folder / "5-broken.xml")
    assert status == 1
    assert "5-broken.xml" in output
    assert "Traceback" not in output
