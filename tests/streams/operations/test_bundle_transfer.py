"""A bundle → object storage → a folder: complete and unchanged, or an error and no folder."""

import asyncio
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.scoring.bundle import FORMAT, MANIFEST, BadBundle, NotReleased, verify
from streams.cli import app
from streams.local.process import LOOPBACK, free_port
from streams.object_storage import ObjectStorage
from streams.operations.bundle_transfer import NotTransferred, fetch, publish
from streams.settings import Settings

ADDRESS = "s3://goods-photos/bundles"
MEASURED = Path(__file__).parents[3] / "models" / "artifacts" / "faithfulness.json"


def make_bundle(folder, *, released=True):
    """A bundle as far as hashes go; one file is larger than a photo may be."""
    folder.mkdir()
    (folder / "text.onnx").write_bytes(b"weights" * 3_000_000)
    (folder / "model.json").write_text("{}")
    if released:
        shutil.copy(MEASURED, folder)
    return sealed(folder)


def sealed(folder, **named):
    """The folder with the manifest of its files, and of `named` ones."""
    contents = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != MANIFEST}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files | named}))
    return folder


@pytest.fixture
def overwrite(stack):
    """Puts bytes where a file of a published bundle lies."""

    def put(bundle_id, name, content):
        async def write():
            storage = ObjectStorage(stack.settings())
            key = f"bundles/{bundle_id}/{name}"
            await storage.bucket("goods-photos").write(key, content, media_type="x/x")
            await storage.close()

        asyncio.run(write())

    return put


@pytest.fixture
def published(stack, tmp_path):
    """The id of a bundle on the real storage."""
    return publish(stack.settings(), make_bundle(tmp_path / "bundle"), ADDRESS)


def test_what_is_published_is_fetched_by_its_id(stack, tmp_path, monkeypatch):
    """With the command; a second time it leaves the folder as it is."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    source, out = make_bundle(tmp_path / "source"), tmp_path / "out"
    done = CliRunner().invoke(app, ["bundle", "--verify", str(source), "--publish", ADDRESS])
    assert done.exit_code == 0, done.output
    words = ["bundle", "--fetch", ADDRESS, "--id", verify(source), "--out", str(out)]
    for _ in range(2):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert done.output.split() == [str(out), verify(source)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "source"]


@pytest.mark.parametrize("name", ["text.onnx", MANIFEST])
def test_a_changed_file_is_refused(stack, published, overwrite, tmp_path, name):
    """Whoever may write to the bucket still cannot change what a worker loads."""
    overwrite(published, name, b"other")
    with pytest.raises(BadBundle, match=name):
        fetch(stack.settings(), ADDRESS, published, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_an_unknown_bundle_is_told(stack, tmp_path):
    with pytest.raises(NotTransferred, match=f"bundles/{'0' * 64} has no bundle"):
        fetch(stack.settings(), f"{ADDRESS}/", "0" * 64, tmp_path / "out")


def test_a_manifest_cannot_name_a_file_elsewhere(stack, tmp_path, overwrite):
    """Even of a bundle that somebody was talked into trusting."""
    bundle = sealed(make_bundle(tmp_path / "bundle"), **{"../escaped": "0" * 64})
    bundle_id = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    for file in bundle.iterdir():
        overwrite(bundle_id, file.name, file.read_bytes())
    with pytest.raises(BadBundle, match="no file of a bundle"):
        fetch(stack.settings(), ADDRESS, bundle_id, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_another_bundle_in_the_folder_stays(tmp_path):
    """Nothing is asked, and nothing removed."""
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(BadBundle, match="another bundle"):
        fetch(Settings(), ADDRESS, "0" * 64, bundle)
    assert verify(bundle)


def test_a_bundle_that_may_not_be_released_is_not_published(tmp_path):
    with pytest.raises(NotReleased):
        publish(Settings(), make_bundle(tmp_path / "b", released=False), ADDRESS)


def test_a_storage_that_is_down_is_told(tmp_path):
    settings = Settings(s3_endpoint=f"http://{LOOPBACK}:{free_port()}", s3_access_key_id="k")
    with pytest.raises(NotTransferred, match="object storage at http"):
        fetch(settings, ADDRESS, "0" * 64, tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fetch", ADDRESS], "--fetch, --id and --out together"),
        (["--fetch", "https://x", "--id", "0" * 64, "--out", "o"], "s3://bucket/prefix"),
        (["--fetch", ADDRESS, "--id", "5a", "--out", "o"], "64 of 0-9 and a-f"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(words, told):
    done = CliRunner().invoke(app, ["bundle", *words])
    assert done.exit_code != 0
    assert told in done.output
    assert "Traceback" not in done.output
