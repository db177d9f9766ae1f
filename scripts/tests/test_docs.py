"""Links of the documentation lead somewhere, and the files that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "sdk/python/README.md", ROOT / "benches/README.md"]
NAMED = re.compile(r"`((?:\.github|benches|config|docs|examples|migrations|scripts|sdk|src|tests)/[\w./-]+\.\w+)`")
TODAYS = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""The changelog tells of files that were."""


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a heading is called in an address, by GitHub's rules."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To a file or folder of the checkout, and to a heading that the page has."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", TODAYS, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    """A file that is moved takes its name in the documentation along."""
    assert not {name for name in NAMED.findall(prose(page)) if not (ROOT / name).exists()}


def test_the_readme_is_short_and_its_figures_are_those_that_were_measured() -> None:
    """Every row of its table of classes stands in docs/privacy.md, which `make science` writes."""
    readme, measured = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/privacy.md"))
    rows = re.findall(r"^\| \*\*.*\|$", readme, flags=re.MULTILINE)
    assert len(rows) == 4 and len(readme.splitlines()) < 120
    assert not [row for row in rows if row not in measured]
