"""The documentation's site: every link leads somewhere, and its pages load nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".deps" / "docs" / "bin" / "python"
LOADING = {"src", "srcset", "poster", "data", "background"}
"""Attributes that make a browser fetch by itself, on whatever element."""
FETCHED = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
"""Relations of a link element that do so too."""
UNASKED = ("http://www.w3.org/", "https://api.github.com/")
"""Addresses in scripts that nobody fetches: namespaces; a repository's stars, but where mkdocs.yml has a repo_url."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `pages`, mkdocs' `pages.yml`, and the `site`."""
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, ROOT / "sdk/python/tools/docs.py", folder / "sdk"], check=True, capture_output=True)
    command = [PYTHON, ROOT / "scripts/docs/docs_site.py", folder / "pages", folder / "site", "--sdk", folder / "sdk"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Loads(HTMLParser):
    """What a page makes a browser fetch, in elements and in styles within it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        given = {name: value or "" for name, value in attrs}
        self.found += [value for name, value in given.items() if name in LOADING]
        self.found += of_style(given.get("style", ""))
        if tag == "link" and FETCHED & set(given.get("rel", "").split()):
            self.found.append(given.get("href", ""))

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += of_style(data)
        if self._inside == "script":
            self.found += of_script(data)


def of_style(text: str) -> list[str]:
    return re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(r"@import\s+['\"]([^'\"]+)", text)


def of_script(text: str) -> list[str]:
    found = re.findall(r"[\"'`]((?:https?:)?//[\w.-]+\.\w[^\"'`\s]*)", text)
    return [address for address in found if not address.startswith(UNASKED)]


def foreign(file: Path) -> Iterator[str]:
    """Addresses on other hosts that a file of the site makes a browser fetch."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".html":
        page = Loads()
        page.feed(text)
        addresses = page.found
    else:
        addresses = of_style(text) if file.suffix == ".css" else of_script(text)
    yield from (address for address in addresses if re.match(r"(https?:)?//", address.strip()))


def test_pages_load_nothing_from_elsewhere(built: Path) -> None:
    """Ordinary links are fine: nobody follows them but the reader."""
    site = built / "site"
    # What search reads is text of pages, of which browsers fetch nothing.
    texts = {site / "search/search_index.js", site / "reference/sdk/search.js"}
    files = [file for file in site.rglob("*.*") if file.suffix in {".html", ".css", ".js"} and file not in texts]
    assert len(files) > 100
    assert not [(str(file.relative_to(site)), address) for file in files for address in foreign(file)]
    assert "repo_url" not in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_what_would_be_loaded_is_noticed(tmp_path: Path) -> None:
    page, script = tmp_path / "a.html", tmp_path / "a.js"
    page.write_text(
        '<link rel="stylesheet" href="//a.org/a.css"><img src="https://b.org/b.png"><a href="https://c.org">c</a>'
        '<style>@import "https://d.org/d.css"; p { background: url(https://e.org/e.png) }</style>'
        '<script>fetch("https://f.org/f.json")</script><img src="g.png">'
    )
    script.write_text('const svg = "http://www.w3.org/2000/svg"; load(`https://h.org/h.js`) // see https://i.org')
    assert sorted(re.findall(r"\w\.org", " ".join(foreign(page)))) == ["a.org", "b.org", "d.org", "e.org", "f.org"]
    assert list(foreign(script)) == ["https://h.org/h.js"]


def test_pages_work_from_a_folder(built: Path) -> None:
    """Links name files, and search has its index as a script, for a browser reads no JSON from a folder."""
    page = (built / "site/index.html").read_text(encoding="utf-8")
    assert 'href="tour.html"' in page and 'href="sdk/python/index.html"' in page and "/404" not in page
    assert (built / "site/search/search_index.js").read_text(encoding="utf-8").startswith("var __index = ")
    assert (built / "site/assets/iframe-worker.js").exists()


def test_a_recipe_has_its_outputs_and_the_contract_every_operation(built: Path) -> None:
    recipe = (built / "site/examples/recipes/bank_tickets.html").read_text(encoding="utf-8")
    contract = (ROOT / "openapi.yaml").read_text(encoding="utf-8")
    assert "data:image/png;base64," in recipe and "import" in recipe
    shown = (built / "pages/reference/api.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^### ", shown, flags=re.MULTILINE)) == contract.count("operationId: ")


def test_a_link_that_leads_nowhere_fails_the_build(built: Path, tmp_path: Path) -> None:
    with (built / "pages/docs/board.md").open("a", encoding="utf-8") as page:
        page.write("\n[there](nowhere.md) [here](api.md#nowhere)\n")
    command = [PYTHON, "-m", "mkdocs", "build", "--strict", "--config-file", built / "pages.yml"]
    done = subprocess.run([*command, "--site-dir", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1 and "'nowhere.md'" in done.stderr and "'#nowhere'" in done.stderr
