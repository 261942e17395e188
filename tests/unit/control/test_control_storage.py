"""Where a gateway keeps what must outlive it."""

import pytest

from seawall.config.state import StateSettings
from seawall.control.storage import open_configured_store, state_directory, state_url
from seawall.core.errors import StateError


def test_the_configured_directory_wins(tmp_path):
    settings = StateSettings(directory=str(tmp_path / "here"))
    assert state_directory(settings, {"XDG_STATE_HOME": "/elsewhere"}) == tmp_path / "here"


def test_otherwise_the_xdg_directory_is_used_when_it_is_absolute():
    assert str(state_directory(StateSettings(), {"XDG_STATE_HOME": "/var/states"})) == "/var/states/seawall"


@pytest.mark.parametrize("environ", [{}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}])
def test_otherwise_the_home_directory_is_used(monkeypatch, environ):
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(state_directory(StateSettings(), environ)) == "/home/someone/.local/state/seawall"


def test_a_configured_url_wins_over_the_file():
    assert state_url(StateSettings(url="redis://127.0.0.1:6379/0"), {}) == "redis://127.0.0.1:6379/0"


def test_without_a_url_the_state_is_a_file_in_the_directory():
    assert state_url(StateSettings(directory="/var/lib/seawall"), {}) == "sqlite:////var/lib/seawall/state.sqlite"


@pytest.mark.anyio
async def test_the_directory_is_made_for_this_user_only(tmp_path):
    store = open_configured_store(StateSettings(directory=str(tmp_path / "deep" / "state")))
    await store.ping()
    await store.put("key", b"value")
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "deep" / "state" / "state.sqlite").exists()
    await store.close()


@pytest.mark.anyio
async def test_a_folder_with_signs_that_mean_something_in_a_url(tmp_path):
    store = open_configured_store(StateSettings(directory=str(tmp_path / "50% #1?")))
    await store.put("key", b"value")
    assert (tmp_path / "50% #1?" / "state.sqlite").exists()
    await store.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be made: Not a directory") as refused:
        open_configured_store(StateSettings(directory=str(tmp_path / "file" / "state")))
    assert "state.directory" in refused.value.hint
