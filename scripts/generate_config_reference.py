"""Write docs/reference/configuration.md from the settings; with `--check` only say whether it is up to date."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from seawall.config.environment import PROMISED_VARIABLES, variable_name
from seawall.config.schema import JsonSchema, accepted, alternatives, json_schema
from seawall.config.shape import fixed_variables
from seawall.control.tree import Settings

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "configuration.md"

INTRODUCTION = """\
# Configuration

<!-- Written by scripts/generate_config_reference.py from the settings; change them there. -->

Settings come from the command line, then from the environment, then from a file, then from defaults: the first that
gives a value wins, key by key. That holds for what pools inherit too: `LB_STRATEGY` wins over the `strategy` that the
file gives a pool, and `--strategy` over both; within one place a pool's own value wins. The file is the one that `-c`
names, else `$SEAWALL_CONFIG`, else `./seawall.toml`; without any, defaults hold.

- `seawall config check` says OK or lists everything that is wrong, with file and line. It reads the file
  that `identity.jwt.jwks_file` or `secret_file` names.
- `seawall config show` prints each effective value with its origin; secrets are hidden.
- `seawall config schema` prints a JSON Schema for editors.

Durations are in milliseconds and say so in their names. An unknown key is an error.

```toml
[gateway]
listen = "0.0.0.0:8080"

[balancing]
strategy = "least-connections"

[balancing.health]
path = "/healthz"

[balancing.pools.api]
instances = ["http://10.0.0.1:9000", { url = "http://10.0.0.2:9000", weight = 2 }]

[balancing.pools.static]
instances = ["http://10.0.0.3:9000"]
health.interval_ms = 1000  # the rest is taken from [balancing.health]

[[balancing.routes]]
path = "/static"
pool = "static"

[[balancing.routes]]
pool = "api"
```

## Environment

Every setting that is not an element of a list has a variable: `SEAWALL_`, then its key path in upper case with `__`
between the parts, such as `{workers}` or `{pool}`; `-` and `.` in a pool's
name become `_`, and a name that ends in one of them or holds two in a row has no variable. Lists and tables are given
as JSON. A variable that begins with `SEAWALL_` and names nothing is an error.

These names are fixed beside that; giving one setting two different values is an error:

| variable | setting |
|---|---|
"""

SOON = """
These are known, and change nothing in this version; each is answered by a warning:

{names}
"""


def page() -> str:
    """Return the whole page."""
    schema = json_schema(Settings)
    pool = variable_name(("balancing", "pools", "web", "strategy"))
    text = INTRODUCTION.replace("{workers}", variable_name(("gateway", "workers"))).replace("{pool}", pool)
    fixed = fixed_variables(Settings)
    text += "".join(f"| `{name}` | `{'.'.join(map(str, path))}` |\n" for name, path in fixed.items())
    text += SOON.format(names=", ".join(f"`{name}`" for name in PROMISED_VARIABLES if name not in fixed) + ".")
    return text + "".join(tables(schema, schema, ""))


def tables(schema: JsonSchema, table: JsonSchema, name: str) -> Iterator[str]:
    """Yield a chapter for a table, then those for the tables within it."""
    values = {
        key: field
        for key, field in table["properties"].items()
        if all(suffix == "[]" for suffix, _ in below(schema, field))
    }
    if name:
        yield f"\n## `{name}`\n\n{table.get('description', '').partition(chr(10))[0]}\n"
    if values:
        yield "\n| key | default | accepted | |\n|---|---|---|---|\n"
        required = table.get("required", [])
        yield "".join(row(schema, key, field, required=key in required) for key, field in values.items())
    for key, field in table["properties"].items():
        place = f"{name}.{key}" if name else key
        for suffix, found in below(schema, field):
            inherited = field.get("x-inherits")
            if inherited and not suffix:
                yield f"\n## `{place}`\n\n{field['description']} The same keys as "
                yield f"[`{inherited}`](#{anchor(inherited)}); what is not given is taken from there.\n"
            else:
                yield from tables(schema, found, f"{place}{suffix}")


def below(schema: JsonSchema, field: JsonSchema) -> Iterator[tuple[str, JsonSchema]]:
    """Yield the table with fixed keys that a field holds, with what its name adds to the key path."""
    for branch in alternatives(schema, field):
        if "properties" in branch:
            yield "", branch
        named = [*branch.get("patternProperties", {}).values(), branch.get("additionalProperties")]
        for suffix, held in (*((".NAME", one) for one in named), ("[]", branch.get("items"))):
            for inner in alternatives(schema, held) if isinstance(held, dict) else ():
                if "properties" in inner:
                    yield suffix, inner


def row(schema: JsonSchema, key: str, field: JsonSchema, *, required: bool) -> str:
    """Return one line of a table."""
    default = f"`{json.dumps(field['default'])}`" if field.get("default") is not None else ""
    if required:
        default = "required"
    if source := field.get("x-inherits"):
        default = f"[`{source}`](#{anchor(source.rpartition('.')[0])})"
    words = accepted(schema, field)
    meaning = field["description"].removesuffix(f" ({field.get('x-unit')})")  # it stands in the words already
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{key}`", default, words, meaning)) + " |\n"


def anchor(name: str) -> str:
    """Return the anchor of a heading as GitHub and zensical make it."""
    return "".join(character for character in name.lower() if character.isalnum() or character in "-_")


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the page is out of date")
    arguments = parser.parse_args()
    text = page()
    if not arguments.check:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print(f"{PAGE} is out of date: run {sys.executable} {__file__}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
