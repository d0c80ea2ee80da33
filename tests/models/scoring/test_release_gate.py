"""The gate: a bundle whose explanations were not measured, or are not faithful, is not released."""

import json

import pytest

from models.scoring.bundle import NotReleased, check_released
from models.scoring.release_gate import RECORD, gate, problems, record
from models.training.bundle_builder import ARTIFACTS
from streams.app import load_scorer
from streams.settings import Settings

CURVES = {
    "deletion_auc": 0.1,
    "deletion_auc_random": 0.2,
    "insertion_auc": 0.3,
    "insertion_auc_random": 0.2,
}
GOOD = {
    **dict.fromkeys(("text", "image", "attributes"), CURVES),
    "planted_word": 0.95,
    "planted_object": 0.85,
    "sanity": {"parameter_randomisation": 0.1, "label_randomisation": 0.0},
    "stable": True,
}
BAD = GOOD | {
    "image": CURVES | {"deletion_auc": 0.19},
    "planted_word": float("nan"),
    "planted_object": 0.79,
    "sanity": {"parameter_randomisation": 0.4, "label_randomisation": 0.0},
    "stable": False,
}


@pytest.fixture
def artifacts(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    return tmp_path


def test_the_gate_tells_all_that_fails():
    """Each condition by itself; what is no number fails."""
    assert gate(GOOD) == []
    assert len(gate(BAD)) == 5


def test_artifacts_are_released_by_figures_of_theirs_that_pass(artifacts):
    """Not without a record, not by a failing one, not after they were changed."""
    assert problems(artifacts) == ["its explanations were not measured"]
    record(artifacts, BAD)
    assert problems(artifacts) == gate(BAD)
    record(artifacts, GOOD)
    assert problems(artifacts) == []
    (artifacts / "model.json").write_text("{ }")
    assert problems(artifacts) == ["its explanations were measured on other artifacts"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"figures": GOOD}, None),
        ({"figures": BAD}, "explained in two ways"),
        ({"figures": GOOD | {"sanity": {}}}, "not complete"),
        ({"figures": GOOD | {"stable": "no"}}, "explained in two ways"),
        ({}, "not complete"),
    ],
)
def test_a_built_bundle_is_judged_by_the_conditions_of_today(tmp_path, content, problem):
    """Whatever it was built under."""
    (tmp_path / RECORD).write_text(json.dumps(content))
    if problem is None:
        check_released(tmp_path)
    else:
        with pytest.raises(NotReleased, match=problem):
            check_released(tmp_path)


def test_the_committed_heads_may_be_released(bundle):
    """By the figures that the model card tells, which are in the bundle too."""
    assert problems(ARTIFACTS) == []
    assert (bundle / RECORD).read_text() == (ARTIFACTS / RECORD).read_text()
    assert json.loads((bundle / RECORD).read_text())["figures"]["stable"]


def test_no_worker_takes_a_bundle_that_was_not_released(bundle, tmp_path):
    """And says what to do."""
    listed = json.loads((bundle / "manifest.json").read_text())
    del listed["files"][RECORD]
    (tmp_path / "manifest.json").write_text(json.dumps(listed))
    for name in listed["files"]:
        (tmp_path / name).symlink_to(bundle / name)
    with pytest.raises(NotReleased, match="redlane evaluate explain"):
        load_scorer(Settings(bundle=tmp_path))
    check_released(bundle)
