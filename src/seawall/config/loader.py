"""One frozen tree from defaults, file, environment and command line; every mistake is found at once."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from seawall.config.environment import read_environment
from seawall.config.inheritance import give_way
from seawall.config.keypath import key_path
from seawall.config.layers import Layer, Origin, merge, trace
from seawall.config.problems import Problem, Translator
from seawall.config.pruning import Pruner
from seawall.config.section import Path as KeyPath
from seawall.config.section import Section
from seawall.config.shape import effective, is_named_section, mark
from seawall.config.tomlfile import find_file, read_file, unusable_values
from seawall.core.errors import ConfigurationError

__all__ = ["COMMAND_LINE", "DEFAULT", "Loaded", "load"]

COMMAND_LINE = "command line"
DEFAULT = "default"

_MAX_ROUNDS = 12

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A validated tree, and what is known about how it came about.

    Attributes:
        settings: the tree.
        origins: for the key path of every effective value `default`, `FILE:LINE`, `environment NAME` or `command line`;
            with `, inherited from KEY PATH` where a value is another one's default.
        warnings: what the reader should know, one line each.
        file: the file that was read, None without one.
    """

    settings: S
    origins: dict[str, str]
    warnings: tuple[str, ...]
    file: Path | None
    _inputs: "tuple[Path | None, dict[str, str], Mapping[str, object]]" = field(repr=False, compare=False)

    def again(self) -> "Loaded[S]":
        """Load once more from the same places, for a reload; raises `ConfigurationError` as `load` does.

        The environment is the one of the first load: a running process's does not change.
        """
        file, environ, overrides = self._inputs
        return load(type(self.settings), file=file, environ=environ, overrides=overrides)


def load(root: type[S], *, file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Loaded[S]:
    """Load and validate the configuration.

    Args:
        root: the class of the whole tree.
        file: the file that the command line names; None looks at `$SEAWALL_CONFIG`, then for `./seawall.toml`.
        environ: environment variables, such as `os.environ`.
        overrides: what the command line sets, as a tree of tables; a key may also be a dotted path of plain names.

    Raises:
        ConfigurationError: the configuration is refused; `problems` holds one line for each finding.
    """
    found = find_file(file, environ)
    from_file = read_file(found) if found else Layer({}, lambda _: "")
    from_flags = Layer(_expanded(overrides), lambda _: COMMAND_LINE)
    environment = read_environment(root, environ, (from_file.values, from_flags.values))
    layers = give_way(root, (from_file, environment.layer, from_flags))
    origin = trace(layers)
    problems = list(environment.problems)
    dates = [
        Problem(path, f"given {kind}; no setting takes one, put text in quotes")
        for path, kind in unusable_values(from_file.values)
    ]
    settings, findings = _validate(root, merge(layers), dates)
    problems.extend(_line(problem, origin) for problem in findings)
    if problems or settings is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigurationError(
            f"the configuration is refused: {count}",
            hint="correct each line below, then run `seawall config check`",
            problems=tuple(problems),
        )
    origins = {key_path(leaf.path): _origin(settings, origin, leaf.path) for leaf in effective(settings)}
    remarks = (_line(Problem(path, text, other=other), origin) for path, text, other in settings.remarks())
    warnings = (*environment.warnings, *remarks, *_exposed_secrets(settings, found, origins))
    return Loaded(settings, origins, warnings, found, (file, dict(environ), overrides))


def _validate(root: type[S], values: dict[str, Any], dates: list[Problem]) -> tuple[S | None, list[Problem]]:
    """Validate, and again without what was refused, until nothing new is found.

    A section checks what its values mean together only when each of them is right; without the second look a reader
    would correct one mistake and then meet the next.
    """
    problems: dict[Problem, None] = dict.fromkeys(dates)
    pruner = Pruner(copy.deepcopy(values), lambda path: is_named_section(root, path))
    for problem in dates:
        pruner.remove(problem.path)
    for turn in range(_MAX_ROUNDS):
        try:
            settings = root.model_validate(pruner.values)
        except ValidationError as error:
            found = [
                problem._replace(path=pruner.original(problem.path), other=pruner.original(problem.other))
                for problem in Translator(root).problems(error)
            ]
        else:
            return (None if problems else settings), list(problems)
        # Each value has been looked at in the first turn; later on, values are missing because they were removed.
        problems.update((problem, None) for problem in found if turn == 0 or problem.kind == "combination")
        for problem in found:
            (pruner.remove_around if problem.kind == "missing" else pruner.remove)(problem.path)
    return None, list(problems)


def _line(problem: Problem, origin: Origin) -> str:
    where = origin.nearest(problem.path).text
    text = problem.text.replace("{other}", key_path(problem.other)) if problem.other else problem.text
    return f"{where}: {key_path(problem.path)}: {text}" if where else f"{key_path(problem.path)}: {text}"


def _origin(settings: Section, origin: Origin, path: KeyPath) -> str:
    if given := origin.at(path):
        return given.text
    value: Any = settings
    for index, part in enumerate(path):
        if isinstance(value, Section):
            node = origin.at(path[:index])
            if node and not node.is_table and type(value).short_form == part:
                return node.text
            if source := mark(type(value).model_fields[str(part)], "inherits"):
                whole = (*source.split("."), *path[index + 1 :])
                came = _origin(settings, origin, whole)
                if came != DEFAULT and _value_at(settings, whole) == _value_at(settings, path):
                    return f"{came}, inherited from {key_path(whole)}"
            value = getattr(value, str(part))
        elif isinstance(value, (dict, tuple)):
            value = value[part]  # type: ignore[index]  # the path was made from this very tree
    # A list that was given empty, or a table of free names: the whole has an origin, its parts have none.
    return DEFAULT


def _value_at(settings: Section, path: KeyPath) -> object:
    value: Any = settings
    for part in path:
        value = getattr(value, str(part)) if isinstance(value, Section) else value[part]
    return value


def _exposed_secrets(settings: Section, file: Path | None, origins: Mapping[str, str]) -> Iterator[str]:
    """Warn of secrets in a file that everybody on the machine can read."""
    if file is None or not file.stat().st_mode & 0o004:
        return
    for leaf in effective(settings):
        where = origins[key_path(leaf.path)]
        if leaf.secret and leaf.value and where.startswith(f"{file}:"):
            yield f"{where}: {key_path(leaf.path)}: a secret in a file that every user can read; chmod o-r {file}"


def _expanded(overrides: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in overrides.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        old = node.get(last)
        node[last] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
    return copy.deepcopy(tree)
