"""What the demo shows: a live table on a terminal, rows of text anywhere else."""

from typing import NamedTuple, Protocol

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = ["Display", "Event", "LiveDisplay", "PlainDisplay", "Row", "Scene", "picture"]

_WIDTH_WITHOUT_BAR = 76
_BAR_WIDTHS = (4, 24)
_STATE_STYLES = {"healthy": "green", "unhealthy": "bold red", "ejected": "bold red", "starting": "yellow"}


class Row(NamedTuple):
    """One server now; `share` (0..1) is of the last two seconds' answers, the rest is what the gateway reports."""

    name: str
    takes_ms: float
    state: str
    share: float
    requests: int
    active: int
    p50_ms: float
    p99_ms: float


class Event(NamedTuple):
    """Something that happened, in seconds after the start."""

    at: float
    text: str


class Scene(NamedTuple):
    """Everything on show at one moment; latencies are those that the clients saw, from when each request was due."""

    elapsed: float
    duration: float
    title: str
    rows: tuple[Row, ...]
    events: tuple[Event, ...]
    sent: int
    failed: int
    p50_ms: float
    p99_ms: float


class Display(Protocol):
    """Where scenes go."""

    def show(self, scene: Scene) -> None:
        """Show a scene in place of the one before it."""
        ...

    def close(self) -> None:
        """Leave the last scene and give the terminal back."""
        ...


class LiveDisplay:
    """A table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        # Drawn on a thread of its own, so that drawing does not delay the load generator's requests.
        self._live = Live(console=console, refresh_per_second=5)
        self._live.start()

    def show(self, scene: Scene) -> None:
        """Redraw."""
        self._live.update(picture(scene))

    def close(self) -> None:
        """Leave the last table standing."""
        self._live.stop()


class PlainDisplay:
    """A few lines of text each second, and each event once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = 0.0
        self._told = 0

    def show(self, scene: Scene) -> None:
        """Print new events, and the rows when a second has passed."""
        for event in scene.events[self._told :]:
            self._print(f"{event.at:6.1f} s  * {event.text}")
        self._told = len(scene.events)
        if scene.elapsed >= self._due:
            self._due = scene.elapsed + 1.0
            servers = "  |  ".join(
                f"{row.name} {row.state} {row.share:4.0%}, {row.active} in flight, "
                f"p50 {row.p50_ms:.1f} ms, p99 {row.p99_ms:.1f} ms"
                for row in scene.rows
            )
            self._print(f"{scene.elapsed:6.1f} s  sent {scene.sent}, failed {scene.failed}  |  {servers}")

    def close(self) -> None:
        """Nothing is left to do."""

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def picture(scene: Scene) -> RenderableType:
    """Return a scene as a table, with a line on the clients and the latest events under it."""
    return _Picture(scene)


class _Picture:
    """A scene, drawn as wide as the terminal allows."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        scene = self._scene
        yield _table(scene, max(_BAR_WIDTHS[0], min(_BAR_WIDTHS[1], options.max_width - _WIDTH_WITHOUT_BAR)))
        clients = Text(f"clients: {scene.sent:,} requests sent, ")
        clients += Text(f"{scene.failed} failed", style="bold red" if scene.failed else "bold green")
        clients += Text(f", p50 {scene.p50_ms:.1f} ms, p99 {scene.p99_ms:.1f} ms")
        yield clients
        for event in scene.events[-8:]:
            yield Text(f"{event.at:6.1f} s  {event.text}", style="dim")


def _table(scene: Scene, bar: int) -> Table:
    table = Table(title=f"{scene.title}   {scene.elapsed:4.1f} of {scene.duration:g} s", title_justify="left")
    for heading in ("server", "takes"):
        table.add_column(heading, no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=len("unhealthy"))
    table.add_column("share of the last 2 s" if bar > 16 else "share", width=bar + 5, no_wrap=True)
    for heading in ("requests", "active", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in scene.rows:
        table.add_row(
            row.name,
            f"{row.takes_ms:g} ms",
            Text(row.state, style=_STATE_STYLES.get(row.state, "")),
            Text(f"{row.share:4.0%} ") + Text("█" * round(row.share * bar), style="cyan"),
            f"{row.requests:,}",
            str(row.active),
            f"{row.p50_ms:.1f}",
            f"{row.p99_ms:.1f}",
        )
    return table
