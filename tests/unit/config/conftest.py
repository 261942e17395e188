"""Loading a configuration from text, in an empty working directory."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from seawall.config.loader import Loaded, load
from seawall.control.tree import Settings
from seawall.core.errors import ConfigurationError

Load = Callable[..., Loaded[Settings]]
Refuse = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load `./seawall.toml` with the given text; origins name the file without its folder."""
    monkeypatch.chdir(tmp_path)

    def run(
        text: str | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Loaded[Settings]:
        if text is not None:
            Path("seawall.toml").write_text(text)
        return load(Settings, file=None, environ=environ or {}, overrides=overrides or {})

    return run


@pytest.fixture
def refuse(load_text: Load) -> Refuse:
    """Load what must be refused, and return the problems."""

    def run(*args: object, **kwargs: object) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            load_text(*args, **kwargs)
        return list(caught.value.problems)

    return run
