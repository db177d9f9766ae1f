"""Builds the documentation as a site: `python docs_site.py PAGES SITE`, with the environment of scripts/setup/docs.sh.

Lays PAGES out as the repository is (its Markdown, notebooks as Markdown, files that pages link to, the references that
are written from code), so that a link leads to the same place on both; mkdocs.yml says the rest. `--sdk FOLDER` is what
`make docs` wrote.

Owns: which files of the repository the site has. Must never: fetch anything, or write outside of PAGES and SITE.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from api_reference import reference
from notebook_page import notebook_page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
OUTSIDE = ("http://", "https://", "mailto:")
FIRST = ("README.md", "SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
"""With docs/, where the search for linked files starts."""
SDK_PAGE = """# The SDK's modules

Every public class and function of the Python package, from its docstrings: {where}. How they are used together:
[the SDK](../sdk/python/README.md).
"""


def lay_out(pages: Path) -> None:
    """All that the site has of the repository, from the first pages along their links."""
    shutil.rmtree(pages, ignore_errors=True)
    waiting = [ROOT / name for name in FIRST] + sorted((ROOT / "docs").rglob("*.*"))
    seen = set(waiting)
    while waiting:
        source = waiting.pop()
        for target in write(source, pages):
            if target not in seen:
                seen.add(target)
                waiting.append(target)


def write(source: Path, pages: Path) -> Iterator[Path]:
    """One file of the repository into the pages; the files that it links to."""
    place = pages / source.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".ipynb":
        place.with_suffix(".md").write_text(notebook_page(source), encoding="utf-8")
    elif source.suffix == ".md":
        text, targets = with_links(source)
        place.write_text(text, encoding="utf-8")
        yield from targets
    else:
        shutil.copyfile(source, place)


def with_links(source: Path) -> tuple[str, list[Path]]:
    """A page with its links as the site needs them: a notebook is a page there, and a folder its README."""
    targets: list[Path] = []

    def turned(link: re.Match[str]) -> str:
        path, anchor = link[1], link[2] or ""
        if path.startswith(OUTSIDE):
            return link[0]
        target = (source.parent / path).resolve()
        if target.is_dir():
            target, path = target / "README.md", f"{path.rstrip('/')}/README.md"
        targets.append(target)
        return f"]({path.removesuffix('.ipynb')}.md{anchor})" if path.endswith(".ipynb") else f"]({path}{anchor})"

    parts = re.split(r"(^```.*?^```)", source.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else LINK.sub(turned, part) for part in parts), targets


def add_references(pages: Path, sdk: Path | None) -> None:
    """The pages that are written from code: the API's operations, and the SDK's docstrings where they were built."""
    folder = pages / "reference"
    folder.mkdir()
    (folder / "api.md").write_text(reference(ROOT / "openapi.yaml"), encoding="utf-8")
    where = "`make docs` in a clone" if sdk is None else "[open the reference](sdk/index.html)"
    (folder / "sdk.md").write_text(SDK_PAGE.format(where=where), encoding="utf-8")
    if sdk is not None:
        shutil.copytree(sdk, folder / "sdk")


def build(pages: Path, site: Path) -> int:
    """mkdocs' exit code; a link that leads nowhere fails."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name, folder in (("docs_dir", pages), ("site_dir", site)):
        config = re.sub(rf"^{name}: .*$", f"{name}: {folder}", config, flags=re.MULTILINE)
    config = config.replace("scripts/docs/", f"{ROOT}/scripts/docs/")
    written = pages.parent / f"{pages.name}.yml"
    written.write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--config-file", str(written)]
    # The theme's makers advertise at each build, in red.
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    return done.returncode


def main() -> int:
    """0 when the site stands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", type=Path)
    parser.add_argument("site", type=Path)
    parser.add_argument("--sdk", type=Path)
    given = parser.parse_args()
    pages, site = given.pages.resolve(), given.site.resolve()
    lay_out(pages)
    add_references(pages, given.sdk)
    failed = build(pages, site)
    if not failed:
        print(f"the site is at {site / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
