"""`seawall serve`: run the gateway, as a supervisor of its processes or in one process."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli.logs import LogLevel

if TYPE_CHECKING:
    from seawall.config.loader import Loaded
    from seawall.control.tree import Settings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb `serve` to the command line."""
    app.command("serve", help="Run the gateway.")(_serve)


def _serve(  # noqa: PLR0913 - one argument a flag
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="Configuration file; otherwise $SEAWALL_CONFIG, then ./seawall.toml."
        ),
    ] = None,
    upstream: Annotated[
        list[str] | None, typer.Option("--upstream", metavar="URL", help="Balance over this instance; repeatable.")
    ] = None,
    listen: Annotated[str | None, typer.Option("--listen", metavar="ADDRESS", help="Where clients connect.")] = None,
    admin: Annotated[
        str | None, typer.Option("--admin", metavar="ADDRESS", help="Where the admin API answers.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Worker processes; 0 starts one per core.")] = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="How to choose among the instances, in every pool.")
    ] = None,
    state: Annotated[str | None, typer.Option("--state", metavar="URL", help="State store.")] = None,
    *,
    single_process: Annotated[
        bool, typer.Option("--single-process", help="Everything in one process, for development.")
    ] = False,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="Least severe lines to log.")] = LogLevel.INFO,
) -> None:
    # Imported here, because the configuration costs a quarter of a second that `seawall --help` need not pay.
    from seawall.cli.logs import configure_logging  # noqa: PLC0415
    from seawall.config.flags import serve_overrides  # noqa: PLC0415
    from seawall.config.loader import load  # noqa: PLC0415
    from seawall.control.tree import Settings  # noqa: PLC0415

    overrides = serve_overrides(
        upstream=upstream or (), listen=listen, admin=admin, workers=workers, strategy=strategy, state=state
    )
    loaded = load(Settings, file=config, environ=os.environ, overrides=overrides)
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    configure_logging(log_level, "serve" if single_process else "supervisor")
    if single_process:
        from seawall.cli.single_process import run_single  # noqa: PLC0415 - the supervisor stays small

        run_single(loaded, _announce)
        return
    raise typer.Exit(_supervise(config, overrides, loaded, log_level))


def _supervise(
    config: Path | None, overrides: dict[str, object], loaded: "Loaded[Settings]", log_level: LogLevel
) -> int:
    """Bind the sockets, start the other processes and watch over them until a signal; return the exit code."""
    from seawall.cli.command import child_command  # noqa: PLC0415 - not needed in one process
    from seawall.control.listeners import Listeners  # noqa: PLC0415 - the same
    from seawall.control.runtime import Launch, RuntimeDirectory  # noqa: PLC0415 - the same
    from seawall.control.supervisor import Supervisor  # noqa: PLC0415 - the same
    from seawall.core.clock import SystemClock  # noqa: PLC0415 - the same

    settings = loaded.settings
    workers = settings.gateway.workers or _cores()
    drain_timeout = settings.gateway.drain_timeout_ms / 1000
    listeners = Listeners(settings.gateway.listen, workers)
    runtime = RuntimeDirectory.create()
    try:
        runtime.write_launch(
            Launch(
                config=None if config is None else str(config),
                overrides=overrides,
                report_interval=settings.control.report_interval_ms / 1000,
                drain_timeout=drain_timeout,
                log_level=log_level,
                workers=workers,
                state_url=settings.state.url,
            )
        )
        return Supervisor(
            listeners,
            lambda role, name, descriptors, admin: child_command(runtime, role, name, descriptors, admin),
            workers=workers,
            drain_timeout=drain_timeout,
            start_timeout=settings.control.worker_start_timeout_ms / 1000,
            restart_cap=settings.control.restart_backoff_max_ms / 1000,
            announce=_announce,
            clock=SystemClock(),
        ).run()
    finally:
        runtime.remove()


def _cores() -> int:
    """Return the cores that this process may use: fewer than the machine has in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _announce(line: str) -> None:
    """Print the line that says the gateway is ready, whatever the log level: programs that start it wait for it."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
