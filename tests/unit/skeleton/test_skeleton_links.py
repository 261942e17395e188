"""The link check finds what it is there to find."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
check = runpy.run_path(str(ROOT / "scripts" / "check_links.py"))


@pytest.mark.parametrize("page", check["pages"](ROOT), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert check["broken_links"](page) == []


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[a](missing.md)", "missing.md: there is no missing.md"),
        ("[a](other.md#nowhere)", "other.md#nowhere: other.md has no heading #nowhere"),
        ("![picture](images/none.svg)", "images/none.svg: there is no images/none.svg"),
        ("[a](#nowhere)", "#nowhere: page.md has no heading #nowhere"),
    ],
)
def test_a_broken_link_is_named(tmp_path: Path, link: str, problem: str) -> None:
    (tmp_path / "other.md").write_text("# Here\n\n```\n# nowhere\n```\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\nSee {link}.\n")
    assert check["broken_links"](page) == [problem]


def test_sound_links_other_sites_and_code_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# `A b` & c\n## Twice\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#a-b--c) [c](other.md#twice-1) [d](https://example.org/none) [e](mailto:x@y.z)\n"
        "```\n[in code](none.md)\n```\n"
    )
    assert check["broken_links"](page) == []
