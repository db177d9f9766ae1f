"""What mkdocs is told while it builds the site: addresses, words for a newcomer's eyes, and that nothing is fetched.

Owns: where a page of the repository stands on the site. Must never: change what a page says.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

COMMENT = re.compile(r"^<!--.*?-->\n", re.DOTALL | re.MULTILINE)
FETCHED = re.compile(r"https://unpkg\.com/[\w.@/-]+")
"""What the theme's script would load by itself: diagrams, which no page has, and a patch for browsers of 2019."""


def on_files(files: Any, **_: Any) -> Any:
    """`docs/api.md` stands at `api.html`, the list of pages beside it, and the README is the first page."""
    for file in files:
        if file.src_uri == "docs/README.md":
            file.dest_uri = "pages.html"
        elif file.src_uri.startswith("docs/"):
            file.dest_uri = file.dest_uri.removeprefix("docs/")
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Without the comments that scripts go by: a block of code right under one would be read as a part of it."""
    return COMMENT.sub("", markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Scripts load nothing from elsewhere, whatever a page has on it; files that would name an address are left out."""
    site = Path(config["site_dir"])
    for script in site.glob("assets/javascripts/**/*.js"):
        text = script.read_text(encoding="utf-8")
        script.write_text(re.sub(r"//# sourceMappingURL=\S+", "", FETCHED.sub("about:blank", text)), encoding="utf-8")
    for unneeded in [*site.glob("assets/**/*.map"), *site.glob("sitemap.xml*"), *site.glob("404.html")]:
        unneeded.unlink()
