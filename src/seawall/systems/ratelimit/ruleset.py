"""The rules of the file and those that operators set at run time, as one list that the settings' own checks accept."""

from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import ValidationError

from seawall.config.keypath import key_path
from seawall.config.problems import Translator
from seawall.config.section import Path
from seawall.core.errors import ConfigurationError
from seawall.systems.ratelimit.settings import RateLimitSettings, RuleSettings

__all__ = ["Merged", "RunTimeRule", "merge", "merge_what_fits"]


class RunTimeRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that an operator set.

    Attributes:
        rule: an element of `ratelimit.rules`, with what was given only, so that it goes on inheriting the rest.
        before: id of the rule that a new one stands before; empty, or one that is gone, puts it last.
    """

    rule: dict[str, Any]
    before: str = ""

    @property
    def id(self) -> str:
        """Id of the rule; empty where the record is damaged."""
        found = self.rule.get("id", "")
        return found if isinstance(found, str) else ""


class Merged(msgspec.Struct, frozen=True):
    """Settings with the rules of both, and the reason for each run-time rule that had to be left out."""

    settings: RateLimitSettings
    left_out: dict[str, str]


def merge(settings: RateLimitSettings, added: Sequence[RunTimeRule]) -> RateLimitSettings:
    """Return the settings with these rules in place of those of the same id, the others before the one they name.

    Raises:
        ConfigurationError: the rules cannot stand together, or one can never match; tells every finding.
    """
    if not added:
        return settings
    rules: list[RuleSettings | dict[str, Any]] = list(settings.rules)
    ids = [rule.id for rule in settings.rules]
    for one in added:
        if one.id in ids:
            rules[ids.index(one.id)] = one.rule
        else:
            place = ids.index(one.before) if one.before in ids else len(ids)
            rules.insert(place, one.rule)
            ids.insert(place, one.id)
    try:
        return RateLimitSettings.model_validate({**dict(settings), "rules": rules})
    except ValidationError as error:
        problems = tuple(
            f"{_place(problem.path, ids)}: "
            + problem.text.replace("{other}", _place(problem.other, ids) if problem.other else "")
            for problem in Translator(RateLimitSettings).problems(error)
        )
        raise ConfigurationError(
            f"this does not stand together with the other rules: {problems[0]}",
            hint="change the rule, or what it is at odds with",
            problems=problems,
        ) from error


def merge_what_fits(settings: RateLimitSettings, added: Sequence[RunTimeRule]) -> Merged:
    """Return the settings with every run-time rule that stands together with the file's and with those before it.

    The file may have changed since a rule was set; what no longer fits is left out and told, and never stops a start.
    """
    try:
        return Merged(merge(settings, added), {})
    except ConfigurationError:
        fitting: list[RunTimeRule] = []
        merged, left_out = settings, {}
        for one in added:
            try:
                merged = merge(settings, [*fitting, one])
            except ConfigurationError as error:
                left_out[one.id] = error.message
            else:
                fitting.append(one)
        return Merged(merged, left_out)


def _place(path: Path, ids: Sequence[str]) -> str:
    """Return a place in the operator's words: rules by their ids, not by their numbers."""
    if len(path) < 2 or path[0] != "rules" or not isinstance(path[1], int):
        return key_path(path)
    rest = path[2:]
    return f'rule "{ids[path[1]]}"' + (f", {key_path(rest)}" if rest else "")
