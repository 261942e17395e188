"""Draw docs/images/demo.svg from a real run of the demo: the table while a server is dead, and the table at the end."""

import asyncio
import io
import re
import sys
from pathlib import Path

from rich.console import Console

from seawall.cli.demo_play import Outcome, Play, play
from seawall.cli.demo_view import Scene, picture

__all__ = ["main"]

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "demo.svg"
DURATION = 20.0


class Recorder:
    """Keeps the scenes that are drawn."""

    def __init__(self) -> None:
        self.dead: Scene | None = None
        self.last: Scene | None = None

    def show(self, scene: Scene) -> None:
        """Keep a scene from the middle of the outage, and the newest."""
        if self.dead is None and scene.elapsed >= DURATION * 0.55:
            self.dead = scene
        self.last = scene

    def close(self) -> None:
        """Nothing is held."""


def main() -> int:
    """Run the demo, draw the picture; return 1 when the run was not as it must be."""
    recorder = Recorder()
    how = Play(duration=DURATION, rate=500, strategy="latency-based", workers=2, keep=False)
    outcome = asyncio.run(play(how, recorder))
    if outcome.problems or recorder.dead is None or recorder.last is None:
        print("\n".join(outcome.problems), file=sys.stderr)
        return 1
    TARGET.write_text(_draw(recorder.dead, recorder.last, outcome))
    print(f"{TARGET}: {outcome}")
    return 0


def _draw(dead: Scene, last: Scene, outcome: Outcome) -> str:
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(picture(dead))
    console.print()
    console.print(picture(last))
    console.print(f"\n{outcome.requests:,} requests, {outcome.failed} failed", style="bold green", highlight=False)
    svg = console.export_svg(title="make demo", unique_id="seawall-demo")
    return re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)  # a picture loads nothing from elsewhere


if __name__ == "__main__":
    sys.exit(main())
