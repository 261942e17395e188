"""The bootstrap scripts refuse with a message that names what to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NEEDED = ("awk", "cat", "dirname", "env", "head", "rm", "sh", "sort")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with the least that a system has: no Python, no uv, no apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def add(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def run(bare: Path, *command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={"PATH": str(bare)}, timeout=30, check=False
    )


@pytest.mark.parametrize("script", sorted(ROOT.glob("scripts/*.sh")), ids=lambda path: path.name)
def test_every_script_is_sound_and_executable(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)
    assert os.access(script, os.X_OK)


def test_no_python_is_said(bare: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    done = run(bare, "scripts/uv.sh", "--version", cwd=clone)
    assert done.returncode == 1
    assert "no Python 3.11 or newer on PATH" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_an_old_python_is_not_taken(bare: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    add(bare, "python3", '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0; exit 1')
    done = run(bare, "scripts/uv.sh", "--version", cwd=clone)
    assert done.returncode == 1
    assert "no Python 3.11 or newer on PATH (Python 3.9.2)" in done.stderr


def test_an_old_uv_is_not_taken(bare: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    add(bare, "uv", "echo uv 0.5.0")
    done = run(bare, "scripts/uv.sh", "--version", cwd=clone)
    assert done.returncode == 1  # it would need a Python to install its own
    assert "0.5.0" not in done.stdout


def test_a_missing_debian_package_is_named_to_who_is_not_root(bare: Path) -> None:
    add(bare, "id", "echo 1000")
    add(bare, "apt-get", "exit 1")
    done = run(bare, "scripts/debian.sh", "sh", "dash", "redis-server", "redis-server", "wrk", "wrk-package")
    assert done.returncode == 1
    assert "missing: redis-server wrk-package" in done.stderr
    assert "sudo apt-get install redis-server wrk-package" in done.stderr


def test_another_system_is_told_the_names(bare: Path) -> None:
    done = run(bare, "scripts/debian.sh", "no-such-command", "some-package")
    assert done.returncode == 1
    assert "no apt-get here: some-package" in done.stderr


def test_nothing_missing_is_silent(bare: Path) -> None:
    done = run(bare, "scripts/debian.sh", "sh", "dash", "test 1 = 1", "nothing")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
