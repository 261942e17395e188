"""Check that every relative link of the Markdown pages leads to a file, and every anchor to a heading."""

import re
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

__all__ = ["anchors", "broken_links", "main", "pages"]

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def pages(root: Path) -> list[Path]:
    """Return the pages under version control's care: those at the root, in docs/ and in changelog.d/."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "changelog.d").glob("*.md")])


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes from a page's headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = "".join(c for c in plain if c in " -_" or unicodedata.category(c)[0] in "LN").replace(" ", "-")
        number = 0
        while (candidate := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(candidate)
    return found


def broken_links(page: Path) -> list[str]:
    """Return what is wrong with the links of one page."""
    problems = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue  # another site's business; this check needs no network
        path, _, anchor = unquote(target).partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists():
            problems.append(f"{target}: there is no {path}")
        elif anchor and goal.suffix == ".md" and anchor not in anchors(goal.read_text()):
            problems.append(f"{target}: {goal.name} has no heading #{anchor}")
    return problems


def main() -> int:
    """Print every broken link; return 1 when there is one."""
    checked = pages(ROOT)
    problems = [f"{page.relative_to(ROOT)}: {problem}" for page in checked for problem in broken_links(page)]
    print("\n".join(problems) or f"{len(checked)} pages: all links lead somewhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
