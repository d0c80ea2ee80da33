"""What tests of the command line share."""

import pytest

from streams import logs


@pytest.fixture
def keys(monkeypatch):
    """Secret keys are set, a bundle is not; logging stays as the other tests need it."""
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setenv("REDLANE_PSEUDONYM_KEY", "pseudonym")
    monkeypatch.setenv("REDLANE_SELECTION_KEY", "selection")
    monkeypatch.delenv("REDLANE_BUNDLE", raising=False)
