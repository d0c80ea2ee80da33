"""The documents name files, functions, commands and pages that exist."""

import re
from pathlib import Path

import pytest
import typer

from streams.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")])
STEPS = re.findall(
    r"^\|[^|]*\| `([^`]+\.py)` \| (.*) \|$",
    (ROOT / "docs" / "architecture.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("file", "names"), STEPS, ids=[file for file, _ in STEPS])
def test_the_walk_through_the_architecture_matches_the_code(file, names):
    """Each step's file defines each name that the step tells to look for."""
    code = (ROOT / file).read_text()
    names = re.findall(r"`(\w+)`", names)
    assert names
    for name in names:
        assert re.search(rf"^\s*(async )?(def|class) {name}\b", code, re.MULTILINE), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    """Relative links are files of the repository."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_exist(document):
    """Every `redlane NAME` is a command that `redlane --help` lists."""
    commands = typer.main.get_command(app).commands
    listed = {name for name, command in commands.items() if not command.hidden}
    text = document.read_text()
    named = set(re.findall(r"(?:`|^|\s)redlane ([a-z][a-z-]+)\b", text, re.MULTILINE))
    if document.name == "CHANGELOG.md":
        named.discard("worker")  # its old name stands where the change is described
    assert named <= listed


def test_make_targets_in_the_documents_exist():
    """Every `make NAME` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z-]+)", document.read_text()))
        assert named <= targets, document.name


def test_every_decision_is_in_the_index():
    """docs/decisions/README.md has one line for each record, and titles have their number."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for record in sorted(folder.glob("0*.md")):
        title = record.read_text().splitlines()[0]
        assert title.startswith(f"# {int(record.name[:4])}. "), record.name
        assert f"]({record.name})" in index
