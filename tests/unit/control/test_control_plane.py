"""The control plane over small real systems, a real configuration file and real stores."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seawall.config.loader import load
from seawall.control.framing import ChannelError
from seawall.control.instruments import CONTROL_INSTRUMENTS
from seawall.control.lastknown import LastKnownSnapshots
from seawall.control.messages import GATEWAY
from seawall.control.plane import ControlPlane
from seawall.control.tree import Settings
from seawall.core.clock import SystemClock
from seawall.core.errors import ConfigurationError, SeawallError, StateUnavailableError
from seawall.core.instruments import InstrumentRegistry, Sample
from seawall.core.snapshot import Report, Snapshot
from seawall.core.system import ControllerContext, EngineContext, System, WorkerId
from seawall.pipeline.failures import PIPELINE, PipelineReport
from seawall.state.open import open_store
from seawall.systems.balancing.settings import BalancingSettings
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

INSTRUMENTS = InstrumentRegistry()
SEEN = INSTRUMENTS.counter("test_seen_total", "Reports seen.")


class StrategySnapshot(Snapshot, frozen=True, kw_only=True):
    strategy: str


class CountReport(Report, frozen=True, kw_only=True):
    count: int


class StrategyController:
    """Publishes the configured strategy; refuses `random`, as a stand-in for what cannot be provisioned."""

    def __init__(self, context: ControllerContext) -> None:
        self.publish = context.publish
        self.settings = context.settings
        self.reports: list[tuple[WorkerId, CountReport]] = []
        self.gone: list[WorkerId] = []
        self.resumed: StrategySnapshot | None = None
        self.running = False

    async def start(self) -> None:
        self.running = True
        if self.resumed is None:
            self.publish(StrategySnapshot(version=1, strategy=self.settings.strategy))

    async def stop(self) -> None:
        self.running = False

    def resume(self, snapshot: StrategySnapshot) -> None:
        self.resumed = snapshot

    async def reconfigure(self, settings: BalancingSettings) -> None:
        if settings.strategy == "random":
            raise SeawallError("random cannot be provisioned")
        self.settings = settings
        self.publish(StrategySnapshot(version=1, strategy=settings.strategy))

    def on_report(self, worker: WorkerId, report: CountReport) -> None:
        self.reports.append((worker, report))

    def on_worker_gone(self, worker: WorkerId) -> None:
        self.gone.append(worker)

    def samples(self) -> Iterable[Sample]:
        yield Sample(SEEN, (), len(self.reports))

    def health(self) -> dict[str, str]:
        return {"mood": "gloomy"} if self.settings.strategy == "weighted" else {}


def no_engine(context: EngineContext) -> Any:
    raise AssertionError("the control plane runs no engine")


STRATEGY = System(
    name="balancing",
    settings=BalancingSettings,
    snapshot=StrategySnapshot,
    report=CountReport,
    engine=no_engine,
    controller=StrategyController,
    instruments=tuple(INSTRUMENTS),
)


class Bench:
    """A configuration file and the planes made from it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seawall.toml"
        self.state = folder / "state"
        self.clock = FakeClock()
        self._made: list[tuple[ControlPlane, Any]] = []

    def write(self, strategy: str, more: str = "") -> None:
        self.file.write_text(f'[balancing]\nstrategy = "{strategy}"\n[state]\ndirectory = "{self.state}"\n{more}')

    def plane(self, url: str = "memory://", clock: Any = None) -> ControlPlane:
        loaded = load(Settings, file=self.file, environ={}, overrides={})
        store = open_store(url)
        plane = ControlPlane(loaded.settings, loaded, store, [STRATEGY], clock or self.clock, random.Random(1))
        self._made.append((plane, store))
        return plane

    async def close(self) -> None:
        for plane, store in self._made:
            await plane.stop()
            await store.close()


@pytest.fixture
async def bench(tmp_path):
    made = Bench(tmp_path)
    made.write("round-robin")
    yield made
    await made.close()


async def until(condition: Callable[[], bool], *, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


def newest(plane: ControlPlane) -> StrategySnapshot:
    return msgspec.msgpack.decode(plane.newest()["balancing"], type=StrategySnapshot)


async def test_a_started_plane_has_a_snapshot_of_every_system_and_the_gateways_settings(bench):
    plane = bench.plane()
    assert "balancing" in plane.health().findings["snapshots"]
    await plane.start()
    assert newest(plane).strategy == "round-robin"
    gateway = msgspec.msgpack.decode(plane.newest()[GATEWAY])
    assert gateway == plane.settings.gateway.model_dump(mode="json")


async def test_versions_grow_with_every_publication_and_over_restarts(bench):
    first = bench.plane()
    await first.start()
    versions = [newest(first).version]
    for _ in range(3):
        first.publish("balancing", StrategySnapshot(version=1, strategy="x"))
        versions.append(newest(first).version)
    bench.clock.advance(2)
    second = bench.plane()
    await second.start()
    versions.append(newest(second).version)
    assert versions == sorted(set(versions))


async def test_versions_grow_although_the_wall_clock_steps_back(bench, tmp_path):
    url = f"sqlite:///{tmp_path}/state.sqlite"
    first = bench.plane(url)
    await first.start()
    await first.stop()
    bench.clock.set_wall(bench.clock.wall() - 86_400)
    second = bench.plane(url)
    await second.start()
    assert newest(second).version > newest(first).version


async def test_subscribers_hear_of_each_publication(bench):
    plane = bench.plane()
    heard: list[str] = []
    plane.subscribe(heard.append)
    await plane.start()
    assert heard == [GATEWAY, "balancing"]


async def test_a_snapshot_too_large_to_send_is_named_and_the_last_one_stays(bench):
    plane = bench.plane()
    await plane.start()
    plane.publish("balancing", StrategySnapshot(version=1, strategy="x" * 70_000_000))
    assert newest(plane).strategy == "round-robin"
    assert "70000" in plane.health().findings["balancing.snapshot"]
    plane.publish("balancing", StrategySnapshot(version=1, strategy="small again"))
    assert newest(plane).strategy == "small again"
    assert "balancing.snapshot" not in plane.health().findings


async def test_reports_reach_their_controller(bench):
    plane = bench.plane()
    await plane.start()
    plane.on_worker(("worker-0", 7))
    plane.on_report(("worker-0", 7), "balancing", msgspec.msgpack.encode(CountReport(count=3)))
    assert plane.controllers["balancing"].reports == [(("worker-0", 7), CountReport(count=3))]
    assert [(worker.slot, worker.pid, worker.connected) for worker in plane.workers] == [("worker-0", 7, True)]
    assert plane.workers[0].last_report_at == bench.clock.wall()


@pytest.mark.parametrize(("system", "raw"), [("threats", b"\x80"), ("balancing", b"\x80"), ("balancing", b"\xc1")])
async def test_what_is_no_report_is_refused(bench, system, raw):
    plane = bench.plane()
    await plane.start()
    with pytest.raises(ChannelError):
        plane.on_report(("worker-0", 7), system, raw)
    assert plane.controllers["balancing"].reports == []


async def test_a_defect_in_a_controller_is_shown_and_leaves_the_worker_connected(bench, caplog):
    plane = bench.plane()
    await plane.start()
    plane.on_worker(("worker-0", 7))
    controller = plane.controllers["balancing"]
    controller.reports = None
    for _ in range(3):
        plane.on_report(("worker-0", 7), "balancing", msgspec.msgpack.encode(CountReport(count=1)))
    assert "AttributeError" in plane.health().findings["balancing.reports"]
    assert caplog.text.count("cannot be taken") == 1, "it is logged once, not with every report"
    assert plane.health().ready
    controller.reports = []
    plane.on_report(("worker-0", 7), "balancing", msgspec.msgpack.encode(CountReport(count=2)))
    assert plane.health().findings == {}


async def test_a_replaced_worker_is_gone_for_the_controllers(bench):
    plane = bench.plane()
    await plane.start()
    plane.on_worker(("worker-0", 7))
    plane.on_worker_lost(("worker-0", 7))
    plane.on_worker(("worker-0", 8))
    assert plane.controllers["balancing"].gone == [("worker-0", 7)]


async def test_it_is_ready_when_a_worker_is_connected(bench):
    plane = bench.plane()
    await plane.start()
    assert not plane.health().ready
    assert plane.health().findings == {"workers": "no worker is connected"}
    plane.on_worker(("worker-0", 7))
    assert plane.health().ready
    assert plane.health().findings == {}


async def test_a_controllers_findings_are_shown_under_its_name(bench):
    bench.write("weighted")
    plane = bench.plane()
    await plane.start()
    plane.on_worker(("worker-0", 7))
    assert plane.health().findings == {"balancing.mood": "gloomy"}
    assert plane.health().ready


async def test_samples_cover_every_declared_instrument_and_the_controllers(bench):
    plane = bench.plane()
    await plane.start()
    plane.on_worker(("worker-0", 7))
    plane.on_worker(("worker-1", 8))
    plane.on_worker_lost(("worker-1", 8))
    plane.on_report(("worker-0", 7), "balancing", msgspec.msgpack.encode(CountReport(count=3)))
    samples = {(sample.instrument.name, sample.labels): sample.value for sample in plane.samples()}
    assert samples["seawall_workers", ("connected",)] == 1
    assert samples["seawall_workers", ("disconnected",)] == 1
    assert samples["seawall_reports_total", ("balancing",)] == 1
    assert samples["seawall_snapshot_version", ("balancing",)] == newest(plane).version
    assert samples["seawall_state_up", ()] == 1
    assert samples["test_seen_total", ()] == 1
    exported = {name for name, _ in samples}
    assert {instrument.name for instrument in CONTROL_INSTRUMENTS} <= exported


async def test_failures_of_stages_are_summed_over_workers(bench):
    plane = bench.plane()
    await plane.start()

    def failures() -> dict[str, float]:
        name = "seawall_pipeline_stage_failures_total"
        return {one.labels[0]: one.value for one in plane.samples() if one.instrument.name == name}

    def report(worker: WorkerId, **counts: int) -> None:
        plane.on_worker(worker)
        plane.on_report(worker, PIPELINE, msgspec.msgpack.encode(PipelineReport(failures=counts)))

    assert failures() == {"identity": 0, "ratelimit": 0, "threats": 0}
    report(("worker-0", 7), threats=2)
    report(("worker-0", 7), threats=3)
    report(("worker-1", 8), threats=1, ratelimit=1)
    report(("worker-0", 9), threats=4)
    assert failures() == {"identity": 0, "ratelimit": 1, "threats": 8}


async def test_reload_takes_a_good_file(bench):
    plane = bench.plane()
    await plane.start()
    bench.write("least-connections", '[gateway]\nvia = "harbour"\n')
    result = await plane.reload()
    assert (result.changed, result.needs_restart) == (["gateway.via", "balancing.strategy"], [])
    assert newest(plane).strategy == "least-connections"
    assert msgspec.msgpack.decode(plane.newest()[GATEWAY])["via"] == "harbour"
    assert plane.settings.gateway.via == "harbour"


async def test_a_reload_tells_what_is_most_likely_not_meant(bench, caplog):
    plane = bench.plane()
    await plane.start()
    pools = '[balancing.pools.web]\n[balancing.pools.lost]\n[[balancing.routes]]\npool = "web"\n'
    bench.write("least-connections", pools)
    await plane.reload()
    assert [line for line in caplog.messages if "balancing.pools.lost: no route leads to this pool" in line]


async def test_reload_of_an_unchanged_file_publishes_nothing(bench):
    plane = bench.plane()
    await plane.start()
    heard: list[str] = []
    plane.subscribe(heard.append)
    assert (await plane.reload()).changed == []
    assert heard == []


async def test_reload_keeps_the_running_configuration_when_the_file_is_bad(bench, caplog):
    plane = bench.plane()
    await plane.start()
    before = plane.settings, plane.loaded, dict(plane.newest())
    bench.write("rund-robin")
    with pytest.raises(ConfigurationError) as refused:
        await plane.reload()
    assert any("rund-robin" in problem for problem in refused.value.problems)
    assert (plane.settings, plane.loaded, dict(plane.newest())) == before
    assert "refused" in plane.health().findings["configuration"]
    assert "rund-robin" in caplog.text
    bench.write("round-robin")
    await plane.reload()
    assert "configuration" not in plane.health().findings


async def test_reload_keeps_the_running_configuration_when_it_cannot_be_provisioned(bench):
    plane = bench.plane()
    await plane.start()
    before = plane.settings, dict(plane.newest())
    bench.write("random", '[gateway]\nvia = "harbour"\n')
    with pytest.raises(SeawallError, match="cannot be provisioned"):
        await plane.reload()
    assert (plane.settings, dict(plane.newest())) == before


async def test_what_needs_a_restart_is_shown_until_it_is_taken_back(bench):
    plane = bench.plane()
    await plane.start()
    bench.write("round-robin", '[gateway]\nworkers = 3\nvia = "harbour"\n')
    result = await plane.reload()
    assert (result.changed, result.needs_restart) == (["gateway.via"], ["gateway.workers"])
    assert (await plane.reload()).needs_restart == ["gateway.workers"]
    assert "gateway.workers" in plane.health().findings["configuration"]
    bench.write("round-robin")
    assert (await plane.reload()).needs_restart == []
    assert "configuration" not in plane.health().findings


async def test_the_newest_snapshots_are_kept_and_a_start_without_the_store_goes_on_from_them(bench, tmp_path):
    first = bench.plane(f"sqlite:///{tmp_path}/state.sqlite")
    await first.start()
    first.publish("balancing", StrategySnapshot(version=1, strategy="as it was last"))
    await first.stop()
    second = bench.plane("redis://127.0.0.1:1/0", SystemClock())
    await second.start()
    second.on_worker(("worker-0", 7))
    assert second.controllers["balancing"].resumed.strategy == "as it was last"
    assert newest(second).strategy == "as it was last"
    assert newest(second).version > newest(first).version
    health = second.health()
    assert health.ready
    assert "is away" in health.findings["state"]
    assert {sample.value for sample in second.samples() if sample.instrument.name == "seawall_state_up"} == {0}


async def test_a_start_without_the_store_and_without_a_snapshot_is_refused(bench):
    plane = bench.plane("redis://127.0.0.1:1/0")
    with pytest.raises(StateUnavailableError, match="no last known snapshot of balancing") as refused:
        await plane.start()
    assert "state.url" in refused.value.hint
    assert not plane.controllers["balancing"].running


async def test_a_store_in_memory_leaves_no_files(bench):
    plane = bench.plane()
    await plane.start()
    await plane.stop()
    assert not bench.state.exists()


async def test_snapshots_are_written_while_it_runs_at_most_once_a_second(bench, tmp_path):
    plane = bench.plane(f"sqlite:///{tmp_path}/state.sqlite", SystemClock())
    await plane.start()
    kept = LastKnownSnapshots(bench.state)
    await until(lambda: set(kept.read(["balancing", GATEWAY])) == {"balancing", GATEWAY})
    plane.publish("balancing", StrategySnapshot(version=1, strategy="later"))
    await until(lambda: kept.read(["balancing"])["balancing"] == plane.newest()["balancing"])


async def test_an_unwritable_place_for_snapshots_is_shown(bench, tmp_path):
    bench.state.write_text("a file where the directory should be")
    plane = bench.plane(f"sqlite:///{tmp_path}/state.sqlite", SystemClock())
    await plane.start()
    await until(lambda: "last-snapshot" in plane.health().findings)
    assert str(bench.state) in plane.health().findings["last-snapshot"]
