"""Each import contract holds, and a change that breaks it is refused by name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONTRACTS = re.findall(r"^name = (.+)$", (ROOT / ".importlinter").read_text(), re.MULTILINE)
EXTRAS = ("hiredis", "httpx", "maxminddb", "redis")

VIOLATIONS = {
    "a lower layer imports a higher one": ("1.", "core/clock.py", "import seawall.control.plane"),
    "a type-only import counts too": (
        "1.",
        "config/section.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import seawall.control.plane",
    ),
    "an import inside a function counts too": ("1.", "state/store.py", "def f():\n    import seawall.control.plane"),
    "a part that no layer names": ("1.", "surprise.py", ""),
    "a system imports another": ("2.", "systems/other/model.py", "import seawall.systems.balancing.model"),
    "an engine imports its controller": (
        "3.",
        "systems/balancing/engine.py",
        "import seawall.systems.balancing.controller",
    ),
    "a model imports an engine": ("3.", "systems/balancing/model.py", "import seawall.systems.balancing.engine"),
    "a limit's part imports its engine": (
        "3. Inside ratelimit",
        "systems/ratelimit/gcra.py",
        "import seawall.systems.ratelimit.engine",
    ),
    "a limit's part that no layer names": ("3. Inside ratelimit", "systems/ratelimit/surprise.py", ""),
    "a system's part that no layer names": ("3.", "systems/balancing/surprise.py", ""),
    "an engine imports asyncio": ("4.", "systems/balancing/engine.py", "import asyncio"),
    "a strategy reads the clock": ("4.", "systems/balancing/strategies/weighted.py", "from time import monotonic"),
    "an engine gets time through another module": (
        "4.",
        "systems/balancing/router.py",
        "from seawall.core.clock import SystemClock",
    ),
    "an engine touches the state store": ("4.", "systems/balancing/engine.py", "import seawall.state.store"),
    "a backend is imported past open.py": ("5a.", "control/plane.py", "import seawall.state.redis"),
    "a client is imported past its adapter": ("5b.", "control/plane.py", "def f():\n    import redis"),
    "two modules import each other": ("6.", "core/errors.py", "import seawall.core.instruments"),
}


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / ".importlinter", "--no-cache", "--no-logo"],
        capture_output=True,
        text=True,
        cwd=tree,  # comes first on lint-imports' path
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        check=False,
    )


def verdicts(output: str) -> dict[str, str]:
    return {
        name: found[0]
        for name in CONTRACTS
        if (found := re.findall(rf"^{re.escape(name)} (KEPT|BROKEN)", output, re.MULTILINE))
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src" / "seawall", tmp_path / "seawall", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_contract_holds(tree: Path) -> None:
    done = lint(tree)
    assert verdicts(done.stdout) == dict.fromkeys(CONTRACTS, "KEPT"), done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(("rule", "path", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_is_refused(tree: Path, rule: str, path: str, code: str) -> None:
    changed = tree / "seawall" / path
    if not changed.parent.exists():
        changed.parent.mkdir()
        (changed.parent / "__init__.py").write_text('"""A second system."""\n')
    with changed.open("a") as file:
        file.write(f"\n{code}\n")
    done = lint(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [name for name, verdict in verdicts(done.stdout).items() if verdict == "BROKEN"]
    assert any(name.startswith(rule) for name in broken), done.stdout


def test_importing_seawall_needs_no_extra() -> None:
    script = f"""
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"no {{name}} here", name=name)

sys.meta_path.insert(0, Refuse())
import seawall, seawall.cli, seawall.control.plane, seawall.gateway.worker, seawall.admin.app
for name in seawall.__all__:
    getattr(seawall, name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_seawall_is_light() -> None:
    script = "import sys, seawall; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"asyncio", "fastapi", "httpx", "pydantic", "redis", "uvicorn", "uvloop"})
