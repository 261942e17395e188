"""`seawall demo`, shortened: a client floods, a server is killed and brought back, and nobody else's request fails."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

SEAWALL = str(Path(sys.executable).with_name("seawall"))


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes whose environment names the folder: all that a demo started under it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                if f"TMPDIR={folder}".encode() in environment.split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 15
    while left := processes_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "200"}


@pytest.mark.parametrize("strategy", ["latency-based", "round-robin"])
def test_a_server_dies_and_comes_back_and_nothing_fails(
    strategy: str, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [SEAWALL, "demo", "--duration", "6", "--rate", "200", "--strategy", strategy],
        capture_output=True,
        text=True,
        env=environment,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"requests", "failed", "flood", "flood_answered", "refused", "shares", "p50_ms", "p99_ms"}
    assert result["failed"] == 0
    assert result["requests"] > 600
    assert set(result["shares"]) == {"quick", "steady", "slow"}
    assert sum(result["shares"].values()) == pytest.approx(1, abs=0.001)
    assert all(share > 0 for share in result["shares"].values())
    assert 0 < result["p50_ms"] <= result["p99_ms"]
    assert 0 < result["flood_answered"] < result["flood"]
    assert sum(result["refused"].values()) == result["flood"] - result["flood_answered"]
    assert result["refused"]["quota-exceeded"] > 0
    assert f"{result['refused']['quota-exceeded']} quota-exceeded" in done.stdout
    killed, back = done.stdout.find("quick is killed (SIGKILL)"), done.stdout.find("quick is started again")
    assert 0 < killed < back
    assert "the gateway sees quick" in done.stdout[killed:back]
    assert "the gateway sees quick healthy" in done.stdout[back:]
    wait_until_gone(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def kept(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [SEAWALL, "demo", "--duration", "4", "--rate", "100", "--strategy", "round-robin", "--workers", "1", "--keep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, "PYTHONUNBUFFERED": "1"},
    )
    yield process
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=20)
    wait_until_gone(tmp_path)


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:  # pytest-timeout bounds the wait
        seen.append(line)
        if found := re.search(pattern, line):
            return found
    pytest.fail("".join(seen))


def test_keep_goes_on_with_the_admin_api_open_until_interrupted(kept: subprocess.Popen[str], tmp_path: Path) -> None:
    url = read_until(kept, r"admin API (http://\S+)").group(1)
    token = read_until(kept, r"admin token: (\S+)").group(1)
    read_until(kept, r"quick healthy +[1-9]\d*%")  # it has its traffic back
    request = urllib.request.Request(f"{url}/api/system/load-balancer", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=5) as response:
        assert {instance["id"] for instance in json.load(response)["pools"][0]["instances"]} == {
            "quick",
            "steady",
            "slow",
        }
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/api/system/load-balancer", timeout=5)
    kept.send_signal(signal.SIGINT)
    rest, _ = kept.communicate(timeout=20)
    assert json.loads(rest.splitlines()[-1])["failed"] == 0
    assert kept.returncode == 0
    wait_until_gone(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_early_end_leaves_nothing_behind(environment: dict[str, str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [SEAWALL, "demo", "--duration", "60", "--rate", "50", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, "PYTHONUNBUFFERED": "1"},
    )
    try:
        read_until(process, r"sent \d+")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    wait_until_gone(tmp_path)
    assert list(tmp_path.iterdir()) == []
