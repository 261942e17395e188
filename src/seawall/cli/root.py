"""The root of the command line: which verbs there are, and how an error ends."""

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module, metadata
from typing import Annotated

import typer
from typer.core import TyperGroup

from seawall.core.errors import ConfigurationError, SeawallError

__all__ = ["VERBS", "build_app", "run"]

VERBS = ("serve", "demo", "config", "token", "keys", "limits", "threats", "inspect")
"""Each is a module of this package that offers `register(app)`."""

EXIT_ERROR = 1
EXIT_CONFIGURATION = 2


class _Verbs(TyperGroup):
    """The verbs; an argument that one of them refuses is told without the words of the library that found it."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer's own context, of its own click
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


def build_app(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """Return the command line with the given verbs; a verb's module is imported here and not before."""
    app = typer.Typer(
        name="seawall",
        cls=_Verbs,
        help="Seawall: a production shield for HTTP services.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich help costs 0.4 s of imports
    )
    app.callback()(_root)
    for verb in verbs:
        import_module(f"seawall.cli.{verb}").register(app)
    return app


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the verb that the arguments name, and exit; an error of ours becomes plain text, never a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Only the verb that is asked for is imported, so that each starts as fast as it can.
    verbs: Sequence[str] = given[:1] if given and given[0] in VERBS else () if given == ["--version"] else VERBS
    try:
        build_app(verbs)(args=given, prog_name="seawall")
    except SeawallError as error:
        sys.stderr.write(f"seawall: {error}\n")
        raise SystemExit(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_ERROR) from None


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if asked:
        sys.stdout.write(f"seawall {metadata.version('seawall')}\n")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Seawall: a production shield for HTTP services."""
