"""What a system must offer to be run: an engine for the data plane and a controller for the control plane."""

import random
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from seawall.core.access import Access
from seawall.core.clock import Clock
from seawall.core.instruments import Instrument, Sample
from seawall.core.snapshot import Report, Snapshot
from seawall.core.tokens import FetchKeys, OpenTokenKeys

__all__ = [
    "Controller",
    "ControllerContext",
    "Engine",
    "EngineContext",
    "OpenLocations",
    "System",
    "WorkerId",
]

WorkerId = tuple[str, int]
"""A worker in one life: (slot name such as `worker-0`, process id)."""


OpenLocations = Callable[[str], Callable[[str], tuple[float, float] | None]]
"""Opens a location database by path; the look-up gives (latitude, longitude) in degrees for an address, or None."""


class Engine(Protocol):
    """The deciding half: pure and synchronous."""

    def apply(self, snapshot: Any) -> None:  # noqa: ANN401 - each engine narrows it to its own
        """Swap in a newer snapshot; keep local counters of whatever still exists."""
        ...

    def report(self, *, full: bool) -> Report | None:
        """Return what changed since the last call, or everything when `full`; None when there is nothing to say."""
        ...


class Controller(Protocol):
    """The learning half: async, in the control process; the only place where a loop runs."""

    async def start(self) -> None:
        """Load what the store holds, publish the first snapshot, start the loops."""
        ...

    async def stop(self) -> None:
        """End the loops and flush."""
        ...

    async def reconfigure(self, settings: Any) -> None:  # noqa: ANN401 - each controller narrows it to its own
        """Take a validated settings section; raise before anything changes when it cannot be provisioned."""
        ...

    def on_report(self, worker: WorkerId, report: Any) -> None:  # noqa: ANN401 - as above
        """Take one worker's report; never blocks."""
        ...

    def on_worker_gone(self, worker: WorkerId) -> None:
        """Forget a worker's gauges; its counts stay in the totals."""
        ...

    def samples(self) -> Iterable[Sample]:
        """Yield every series for a scrape."""
        ...

    def health(self) -> dict[str, str]:
        """Return findings that an operator should see; empty when all is well."""
        ...


class EngineContext(msgspec.Struct, frozen=True):
    """What an engine may use besides its snapshot.

    Attributes:
        locations: `seawall.adapters.geoip.open_locations`, or None where no database can be opened.
        token_keys: `seawall.adapters.jwt.open_token_keys`, or None where no token can be checked.
        compile_patterns: `seawall.adapters.patterns.compile_patterns` with its cache, or None where nothing is matched.
        random: secret random bytes, as `os.urandom`; None where none are needed.
    """

    clock: Clock
    rng: random.Random
    locations: OpenLocations | None = None
    token_keys: OpenTokenKeys | None = None
    compile_patterns: Callable[[Any], Any] | None = None
    random: Callable[[int], bytes] | None = None


class ControllerContext(msgspec.Struct, frozen=True):
    """What a controller may use.

    Attributes:
        settings: the system's own settings section.
        store: the shared state store (`seawall.state.StateStore`).
        publish: hand a snapshot to every worker; the newest wins.
        locations: as in `EngineContext`; a controller opens what it is about to publish, so that a bad file is refused
            before any worker meets it.
        workers: worker processes of this gateway.
        threat_tools: `seawall.adapters.threat_tools.ThreatTools`: where threat events are kept and told; None where
            threats are not looked for.
    """

    settings: Any
    store: Any
    clock: Clock
    rng: random.Random
    publish: Callable[[Snapshot], None]
    locations: OpenLocations | None = None
    token_keys: OpenTokenKeys | None = None
    fetch_keys: FetchKeys | None = None
    workers: int = 1
    threat_tools: Any = None


class System(msgspec.Struct, frozen=True):
    """The descriptor that wires a system together; `name` is also its section in `seawall.toml`."""

    name: str
    settings: type[Any]
    snapshot: type[Snapshot]
    report: type[Report]
    engine: Callable[[EngineContext], Engine]
    controller: Callable[[ControllerContext], Controller]
    instruments: tuple[Instrument, ...]
    routes: Callable[[Any, Access], Any] | None = None
    """Build a `fastapi.APIRouter` over (controller, access); imported only where the admin API runs."""
