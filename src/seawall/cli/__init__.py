"""The command line: one file per verb."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    app: typer.Typer

__all__ = ["app", "main"]


def main() -> None:
    """Run `seawall` with the process's arguments, and exit."""
    # Imported here, because a worker process is a module of this package and needs no command line.
    from seawall.cli.root import run  # noqa: PLC0415

    run()


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute may be anything
    if name == "app":
        from seawall.cli.root import build_app  # noqa: PLC0415 - the same

        globals()["app"] = built = build_app()
        return built
    raise AttributeError(f"module 'seawall.cli' has no attribute {name!r}")
