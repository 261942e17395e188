"""How a worker process comes by its first snapshots."""

import asyncio
import logging
import time

import msgspec
import pytest

from seawall.cli.worker_process import Intake
from seawall.config.gateway import GatewaySettings
from seawall.control.lastknown import LastKnownSnapshots
from seawall.control.runtime import RuntimeDirectory
from seawall.control.systems import SYSTEMS

pytestmark = pytest.mark.anyio

SNAPSHOTS = {
    "gateway": msgspec.msgpack.encode(GatewaySettings().model_dump(mode="json")),
    **{system.name: msgspec.msgpack.encode(system.snapshot(version=1)) for system in SYSTEMS},
}
LONG = 600.0


@pytest.fixture
def runtime(tmp_path):
    directory = RuntimeDirectory(tmp_path)
    LastKnownSnapshots(directory.snapshots).write(SNAPSHOTS, now=time.time())
    return directory


async def gathered(intake, runtime):
    stop = asyncio.Event()
    async with asyncio.timeout(5.0):
        gathering = asyncio.create_task(intake.gather(runtime, stop))
        await asyncio.wait([gathering], timeout=0.1)
        ended = gathering.done()
        stop.set()
        await gathering
    return ended


async def test_at_a_first_start_the_control_process_is_waited_for_in_silence(runtime, caplog):
    caplog.set_level(logging.INFO)
    intake = Intake(fresh_wait=0.0, first_wait=LONG)
    assert not await gathered(intake, runtime)
    assert (intake.worker, caplog.messages) == (None, [])


async def test_without_a_control_process_that_once_answered_the_disk_helps_out(runtime, caplog):
    runtime.mark_ready()
    intake = Intake(fresh_wait=0.0, first_wait=LONG)
    assert await gathered(intake, runtime)
    assert intake.worker is not None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].endswith(f"beginning with the last snapshots of {', '.join(SNAPSHOTS)}")
    await intake.worker.close()


async def test_a_first_start_waits_for_long_but_not_for_ever(runtime):
    intake = Intake(fresh_wait=LONG, first_wait=0.0)
    assert await gathered(intake, runtime)
    assert intake.worker is not None
    assert not runtime.was_ready
    await intake.worker.close()


async def test_what_the_control_process_sends_ends_the_wait_and_is_remembered(runtime, caplog):
    assert not runtime.was_ready
    intake = Intake(fresh_wait=LONG, first_wait=LONG)
    for system, payload in SNAPSHOTS.items():
        intake.take(system, payload)
    assert await gathered(intake, runtime)
    assert intake.worker is not None
    assert caplog.messages == []
    assert runtime.was_ready
    await intake.worker.close()
