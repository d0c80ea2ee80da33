"""Settings from files, as containers get their secrets."""

import pytest

from streams.settings import NotConfigured, Settings


@pytest.fixture
def secrets(tmp_path, monkeypatch):
    """The folder that REDLANE_SECRETS_DIR names."""
    monkeypatch.setenv("REDLANE_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_file_holds_the_setting_that_it_is_named_after(secrets):
    """Named as its variable; the line feed that editors add does not count."""
    (secrets / "REDLANE_PSEUDONYM_KEY").write_text("of the file\n")
    (secrets / "REDLANE_REDIS_URL").write_text("rediss://user:password@store:6379/1")
    settings = Settings()
    assert settings.pseudonym_key.get_secret_value() == "of the file"
    assert settings.redis_url.get_secret_value() == "rediss://user:password@store:6379/1"


def test_the_environment_precedes_a_file(secrets, monkeypatch):
    (secrets / "REDLANE_PSEUDONYM_KEY").write_text("of the file")
    monkeypatch.setenv("REDLANE_PSEUDONYM_KEY", "of the environment")
    assert Settings().pseudonym_key.get_secret_value() == "of the environment"


def test_other_files_of_the_folder_do_not_matter(secrets):
    """Kubernetes puts `..data` beside them."""
    (secrets / "..data").mkdir()
    (secrets / "unrelated").write_text("x")
    assert Settings().redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"


def test_a_wrong_value_in_a_file_is_told_without_quoting_it(secrets):
    (secrets / "REDLANE_REDIS_URL").write_text("http://s3cret")
    with pytest.raises(NotConfigured, match=r"^Correct REDLANE_REDIS_URL: ") as caught:
        Settings()
    assert "s3cret" not in str(caught.value)


def test_a_folder_that_is_not_there_is_told(secrets, monkeypatch):
    """Else a worker would start with default secrets."""
    monkeypatch.setenv("REDLANE_SECRETS_DIR", str(secrets / "absent"))
    with pytest.raises(NotConfigured, match=r"^Correct REDLANE_SECRETS_DIR: .*absent is no folder"):
        Settings()
