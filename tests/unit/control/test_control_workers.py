"""The roll of workers: who is connected, who is cut off, who is gone."""

from seawall.control.workers import WorkerRoll, WorkerStatus
from seawall.testing.clock import FakeClock


class Processes:
    def __init__(self, *pids: int) -> None:
        self.pids = set(pids)


def roll_of(processes: Processes) -> tuple[WorkerRoll, list[tuple[str, int]], FakeClock]:
    gone: list[tuple[str, int]] = []
    clock = FakeClock(wall=100.0)
    return WorkerRoll(clock, gone.append, alive=lambda pid: pid in processes.pids), gone, clock


def test_a_worker_is_listed_with_its_times():
    roll, _, clock = roll_of(Processes(7))
    roll.joined(("worker-0", 7))
    clock.advance(2)
    roll.reported(("worker-0", 7))
    assert list(roll) == [WorkerStatus("worker-0", 7, True, 100.0, 102.0)]


def test_a_lost_connection_does_not_end_a_living_worker():
    roll, gone, _ = roll_of(Processes(7))
    roll.joined(("worker-0", 7))
    roll.lost(("worker-0", 7))
    roll.sweep()
    assert gone == []
    assert roll.connected == 0
    roll.joined(("worker-0", 7))
    assert roll.connected == 1


def test_a_worker_whose_process_ended_is_gone_once():
    processes = Processes(7)
    roll, gone, _ = roll_of(processes)
    roll.joined(("worker-0", 7))
    processes.pids.clear()
    roll.sweep()
    assert gone == [], "a connection is the better witness: a process of another machine has no id here"
    roll.lost(("worker-0", 7))
    roll.sweep()
    roll.sweep()
    assert gone == [("worker-0", 7)]
    assert list(roll) == []


def test_a_worker_is_gone_when_another_process_has_its_slot():
    roll, gone, _ = roll_of(Processes(7, 8))
    roll.joined(("worker-0", 7))
    roll.joined(("worker-1", 9))
    roll.lost(("worker-0", 7))
    roll.joined(("worker-0", 8))
    assert gone == [("worker-0", 7)]
    assert [status.pid for status in roll] == [8, 9]


def test_a_quick_reconnect_is_not_undone_by_the_late_end_of_the_old_connection():
    roll, gone, _ = roll_of(Processes(7))
    roll.joined(("worker-0", 7))
    roll.joined(("worker-0", 7))
    roll.lost(("worker-0", 7))
    assert roll.connected == 1
    assert gone == []


def test_what_arrives_late_from_a_worker_that_is_gone_is_no_error():
    roll, _, _ = roll_of(Processes())
    roll.reported(("worker-0", 7))
    roll.lost(("worker-0", 7))
    assert list(roll) == []


def test_the_process_table_is_asked_when_nothing_else_is_given():
    import os
    import subprocess

    gone: list[tuple[str, int]] = []
    roll = WorkerRoll(FakeClock(), gone.append)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid in (os.getpid(), 1, ended.pid):
        roll.joined((f"worker-{pid}", pid))
        roll.lost((f"worker-{pid}", pid))
    roll.sweep()
    assert gone == [(f"worker-{ended.pid}", ended.pid)]
