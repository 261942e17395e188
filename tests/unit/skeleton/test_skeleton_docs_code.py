"""Code in the README and in the docs is executed: `python` blocks are run, `toml` blocks go through the real loader."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(
    r"(?:<!-- not executed: (?P<reason>[^>]*) -->\s*)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```\s*$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    page: Path
    number: int
    language: str
    code: str
    reason: str


def blocks_of(page: Path) -> list[Block]:
    return [
        Block(page, number, found["language"], found["code"], (found["reason"] or "").strip())
        for number, found in enumerate(_BLOCK.finditer(page.read_text()))
    ]


def select(language: str) -> list[object]:
    found = [block for page in PAGES for block in blocks_of(page) if block.language == language and not block.reason]
    return [pytest.param(block, id=f"{block.page.relative_to(ROOT)}-{block.number}") for block in found]


@pytest.mark.parametrize("block", select("toml"))
def test_toml_is_accepted_by_the_loader(block: Block, tmp_path: Path) -> None:
    (tmp_path / "seawall.toml").write_text(block.code)
    seawall = Path(sys.executable).with_name("seawall")
    done = subprocess.run(
        [seawall, "config", "check", "-c", tmp_path / "seawall.toml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", select("python"))
def test_python_runs(block: Block, tmp_path: Path) -> None:
    before = [
        earlier.code
        for earlier in blocks_of(block.page)[: block.number]
        if earlier.language == "python" and not earlier.reason
    ]
    script = tmp_path / "page.py"
    script.write_text("\n".join([*before, block.code]))
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_both() -> None:
    languages = {block.language for block in blocks_of(ROOT / "README.md") if not block.reason}
    assert {"toml", "python", "console"} <= languages
