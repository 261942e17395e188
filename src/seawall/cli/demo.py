"""`seawall demo`: real traffic over three real servers, one of which dies and comes back, and a client that floods."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.systems.balancing.model import StrategyName

if TYPE_CHECKING:
    from rich.console import Console

    from seawall.cli.demo_play import Outcome

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb `demo` to the command line."""
    app.command(
        "demo",
        help="Watch real traffic over three servers while a client floods, and a server dies and comes back.",
    )(_demo)


def _demo(
    duration: Annotated[float, typer.Option(min=3.0, help="Seconds of traffic; what happens is scaled to it.")] = 20.0,
    rate: Annotated[float, typer.Option(min=1.0, help="Requests per second.")] = 500.0,
    strategy: Annotated[StrategyName, typer.Option(help="How to balance.")] = StrategyName.LATENCY_BASED,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes of the gateway.")] = 2,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Go on until Ctrl-C, with the admin URL and token.")] = False,
) -> None:
    # Imported here, because `seawall --help` needs none of it.
    import uvloop  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from seawall.cli.demo_play import Play, play  # noqa: PLC0415
    from seawall.cli.demo_view import Display, LiveDisplay, PlainDisplay  # noqa: PLC0415

    console = Console()
    console.print("Starting three servers and a gateway ...", highlight=False)
    display: Display = LiveDisplay(console) if console.is_terminal else PlainDisplay(console)
    try:
        outcome = uvloop.run(play(Play(duration, rate, strategy.value, workers, keep), display))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        display.close()
    _print_summary(console, outcome)
    raise typer.Exit(1 if outcome.problems else 0)


def _print_summary(console: "Console", outcome: "Outcome") -> None:
    console.print()
    shares = ", ".join(f"{name} {share:.1%}" for name, share in outcome.shares.items())
    console.print(
        f"{outcome.requests:,} requests, {outcome.failed} failed; answered by {shares}; "
        f"p50 {outcome.p50_ms} ms, p99 {outcome.p99_ms} ms from the moment each was due.",
        highlight=False,
        soft_wrap=True,
    )
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in outcome.refused.items()) or "none"
    console.print(
        f"One client flooded: {outcome.flood_answered:,} of its {outcome.flood:,} requests were answered. "
        f"Refused by reason: {reasons}.",
        highlight=False,
        soft_wrap=True,
    )
    for problem in outcome.problems:
        console.print(f"not as it must be: {problem}", style="bold red", highlight=False, soft_wrap=True)
    result = outcome._asdict()
    del result["problems"]
    sys.stdout.write(json.dumps(result) + "\n")  # for machines: the last line on standard output
    sys.stdout.flush()
