"""Whatever layer a configuration comes through, it is the same; and no text makes the loader fail in another way."""

import json
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from config_documents import documents, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.config.changes import changed_paths
from seawall.config.environment import variable_name
from seawall.config.keypath import key_path
from seawall.config.layers import Layer, merge, trace
from seawall.config.loader import load
from seawall.config.positions import find_lines
from seawall.control.tree import Settings
from seawall.core.errors import ConfigurationError

SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(st.characters(codec="utf-8"), max_size=4)
KEYS = TEXT.filter(bool)
PLAIN = st.recursive(
    st.booleans() | st.integers(-9, 9) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=8,
)
TREES = st.dictionaries(KEYS, PLAIN, max_size=4)


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in parts:
        yield from paths_of(below, (*path, key))


def leaves_of(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves_of(value, (*path, key))
        else:
            yield (*path, key), value


def loaded_from(text: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seawall.toml"
        file.write_text(text)
        return load(Settings, file=file, environ={}, overrides={})


def error_of(work: Callable[[], object]) -> ConfigurationError | None:
    """Return how work was refused, or None; any other error is the test's."""
    try:
        work()
    except ConfigurationError as error:
        return error
    return None


@given(st.data())
@SOME
def test_a_file_gives_what_it_says_and_every_value_its_line(data: st.DataObject) -> None:
    document = data.draw(documents())
    text = data.draw(written(document))
    assert tomllib.loads(text) == document
    loaded = loaded_from(text)
    assert loaded.settings == Settings.model_validate(document)
    lines = text.splitlines()
    for path, _ in leaves_of(document):
        origin = loaded.origins.get(key_path(path))
        if origin is not None:
            line = lines[int(origin.rpartition(":")[2]) - 1]
            assert any(str(part) in line for part in path)


@given(documents())
@SOME
def test_environment_and_command_line_give_what_a_file_gives(document: dict[str, Any]) -> None:
    expected = Settings.model_validate(document)
    # Names in upper case lose their dashes, so a pool is known by the file.
    names = {"balancing": {"pools": {name: {} for name in document.get("balancing", {}).get("pools", {})}}}
    fixed = [(path, value) for path, value in leaves_of(document) if not {"regions", "headers", "roles"} & set(path)]
    free = [(path, value) for path, value in leaves_of(document) if {"regions", "headers", "roles"} & set(path)]
    environ = {variable_name(path): value if isinstance(value, str) else json.dumps(value) for path, value in fixed}
    overrides: dict[str, Any] = names
    for path, value in free:
        node = overrides
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    assert load(Settings, file=Path("/dev/null"), environ=environ, overrides=overrides).settings == expected
    assert load(Settings, file=Path("/dev/null"), environ={}, overrides=document).settings == expected


@given(st.lists(TREES, max_size=4))
@SOME
def test_the_strongest_layer_that_speaks_of_a_value_is_its_origin(trees: list[dict[str, Any]]) -> None:
    layers = [Layer(tree, lambda _, number=number: str(number)) for number, tree in enumerate(trees)]
    merged = merge(layers)
    origin = trace(layers)
    for path, value in leaves_of(merged):
        found = origin.at(path)
        assert found is not None
        node: Any = trees[int(found.text)]
        for part in path:
            node = node[part]
        assert node == value
        assert not any(has(tree, path) for tree in trees[int(found.text) + 1 :])


def has(tree: Any, path: tuple[str, ...]) -> bool:
    """Tell whether a layer has a say about a path: gives it, or replaces a table above it."""
    for part in path:
        if not isinstance(tree, dict):
            return True
        if part not in tree:
            return False
        tree = tree[part]
    # An empty table adds nothing to a table that is there already.
    return tree != {}


@given(st.data())
@SOME
def test_every_key_of_a_document_has_a_line(data: st.DataObject) -> None:
    document = data.draw(st.dictionaries(KEYS, PLAIN, max_size=4))
    text = data.draw(written(document))
    assert tomllib.loads(text) == document
    assert set(find_lines(text)) == set(paths_of(document))


@given(st.data())
@SOME
def test_a_wrong_value_anywhere_is_refused_at_its_place_and_nowhere_else(data: st.DataObject) -> None:
    document = data.draw(documents().filter(lambda found: any(True for _ in leaves_of(found))))
    path, value = data.draw(st.sampled_from(list(leaves_of(document))))
    node = document
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = 0.5 if isinstance(value, (str, bool, list)) else "wrong" if isinstance(value, (int, float)) else 3
    with pytest.raises(ConfigurationError) as caught:
        loaded_from(data.draw(written(document)))
    assert any(f": {key_path(path)}: given " in line for line in caught.value.problems)
    assert all(f": {key_path(path)}" in line for line in caught.value.problems if ": given " in line)


@given(st.data())
@SOME
def test_no_values_make_the_loader_fail_in_another_way(data: st.DataObject) -> None:
    document = data.draw(documents())
    for place in data.draw(st.lists(st.sampled_from([(), *(path for path, _ in leaves_of(document))]), max_size=3)):
        node: Any = document
        for part in place[:-1]:
            node = node[part] if isinstance(node, dict) and part in node else {}
        if isinstance(node, dict):
            node[place[-1] if place else data.draw(KEYS)] = data.draw(PLAIN)
    error = error_of(lambda: loaded_from(data.draw(written(document))))
    assert error is None or error.problems
    assert error is None or all("\n" not in line for line in error.problems)


@given(st.text(max_size=40))
@SOME
def test_no_text_makes_the_loader_fail_in_another_way(text: str) -> None:
    error = error_of(lambda: loaded_from(text))
    assert error is None or "seawall.toml" in str(error)


@given(st.dictionaries(st.text(max_size=6).map(lambda name: f"SEAWALL_{name}"), st.text(max_size=6), max_size=3))
@SOME
def test_no_variable_makes_the_loader_fail_in_another_way(environ: dict[str, str]) -> None:
    environ.pop("SEAWALL_CONFIG", None)
    error = error_of(lambda: load(Settings, file=Path("/dev/null"), environ=environ, overrides={}))
    assert error is None or all(line.startswith("environment SEAWALL_") for line in error.problems)


@given(documents(), documents())
@SOME
def test_nothing_changed_means_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    old, new = Settings.model_validate(one), Settings.model_validate(other)
    assert (changed_paths(old, new) == []) == (old == new)
    assert changed_paths(old, old) == []
    assert set(changed_paths(old, new)) == set(changed_paths(new, old))
