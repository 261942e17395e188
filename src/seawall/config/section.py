"""What every section of the configuration is made of: base class, scalar types, and how a setting is declared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, Strict, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

__all__ = [
    "DAY_MS",
    "PROBLEMS",
    "Finding",
    "Integer",
    "Milliseconds",
    "MillisecondsOrZero",
    "Number",
    "Path",
    "Section",
    "Share",
    "Switch",
    "refusal",
    "setting",
]

Path = tuple[str | int, ...]
"""Where a value stands in the tree: table keys and list indexes from the root."""

DAY_MS = 86_400_000
"""The longest duration that a setting may ask for, in milliseconds."""

PROBLEMS = "seawall_problems"
"""The type of a validation error that carries several findings of one section; see `refusal`."""

# Strict, because a quoted number or a 1 for true in a file is a mistake that is better named than guessed.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Switch = Annotated[bool, Strict()]
Milliseconds = Annotated[Number, Field(gt=0, le=DAY_MS)]
MillisecondsOrZero = Annotated[Number, Field(ge=0, le=DAY_MS)]
Share = Annotated[Number, Field(ge=0, le=1)]


class Section(BaseModel):
    """One table of the configuration: frozen, and without room for keys that it does not know.

    Attributes:
        short_form: the field that a bare string in place of the table stands for; empty when there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    short_form: ClassVar[str] = ""

    def remarks(self) -> "Iterator[Finding]":
        """Yield what is allowed and yet most likely not meant, by paths within the section; the loader warns of it."""
        return iter(())

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: object) -> object:
        return {cls.short_form: value} if cls.short_form and isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        if not cls.short_form:
            return schema
        table = handler.resolve_ref_schema(schema)
        text = {**table["properties"][cls.short_form], "title": cls.short_form}
        short = dict(table)
        table.clear()
        table.update({"anyOf": [text, short], "description": short.get("description", "")})
        return schema


def setting(
    default: Any,  # noqa: ANN401 - whatever the field holds
    description: str,
    *,
    unit: str = "",
    env: str | Mapping[str, str] = "",
    inherits: str = "",
    **bounds: Any,  # noqa: ANN401 - passed on to pydantic
) -> Any:  # noqa: ANN401 - takes the type of the field that it is assigned to
    """Declare a setting with its default.

    Args:
        default: the value when nobody gives one; a mutable one is copied for each section.
        description: what it does, for the reference, for editors and for errors.
        unit: `ms`, `bytes`, `share`, `count`, ...; empty for what is not a quantity.
        env: the fixed environment variable that sets it, or variables that set fields of this section by their names.
        inherits: key path from the root of the setting, or table field by field, that is taken when this is not given.
        bounds: `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`, `pattern` as pydantic's `Field` takes them.
    """
    extra: dict[str, Any] = {}
    if unit:
        extra["x-unit"] = unit
    if env:
        extra["x-env"] = {env: ""} if isinstance(env, str) else dict(env)
    if inherits:
        extra["x-inherits"] = inherits
    if isinstance(default, (dict, Section)):
        return Field(
            default_factory=default.copy if isinstance(default, dict) else lambda: default,
            description=description,
            json_schema_extra=extra,
            **bounds,
        )
    return Field(default, description=description, json_schema_extra=extra, **bounds)


class Finding(NamedTuple):
    """What a section's own check found.

    Attributes:
        path: the place within the section.
        text: what is wrong, in words; `{other}` stands for the other place.
        other: another place within the section that the text speaks of.
    """

    path: Path
    text: str
    other: Path = ()


def refusal(findings: Sequence[Finding]) -> PydanticCustomError:
    """Return the error for what a section's own check found."""
    return PydanticCustomError(PROBLEMS, "impossible combination", {"findings": findings})
