"""Points and reports made by hand, for tests of what is said about them, and a strict reader of pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

from blindtune.frontier.point import LeftOut, Point, Report, TierLeak
from blindtune.training.settings import Settings

EVIL = '<script>alert("$x$")</script> & "quotes"'


def leak(score: float, **more: Any) -> TierLeak:
    """A tier's leak with the parts that a real one has."""
    usual = {"low": score - 0.02, "high": score + 0.02, "control": 0.51, "excess": 0.01, "oracle": score}
    return TierLeak(score, attack="activations: h0/kmeans", assumption="none", **{**usual, **more})


def point(name: str, seed: int, **more: Any) -> Point:
    """A point of `method` (default p3eft) with plausible numbers; `extra` are settings, checked or not."""
    method, hosts = more.pop("method", "p3eft"), more.pop("hosts", 1)
    extra = more.pop("extra", {})
    shares = 2 if method == "p3eft" else None
    sets = 2 if method == "p3eft" else None
    settings = Settings(method=method, adapter_sets=sets, shares=shares, steps=100, seed=seed).resolve(hosts).to_dict()
    settings |= extra
    usual: dict[str, Any] = {
        "settings": settings,
        "classes": 2,
        "rows_train": 1000,
        "rows_dev": 872,
        "accuracy": 0.85,
        "accuracy_low": 0.82,
        "accuracy_high": 0.87,
        "loss": 0.4,
        "steps": 100,
        "seconds": 12.5,
        "bytes_up": 1_500_000,
        "bytes_down": 2_500_000,
        "norm_ratio": 0.8,
        "kinds": {"activations": 0.55, "shifts": 0.52, "differences": None, "gradients": 0.9},
        "versions": {"blindtune": "0.1.0", "host": "0.1.0", "numpy": "2.2.6"},
        "measured_at": "2026-01-01T00:00:00+00:00",
    }
    return Point(name=name, seed=seed, hosts=hosts, **{**usual, **more})


def report(points: Sequence[Point], left_out: Sequence[tuple[str, int, str, str]] = ()) -> Report:
    """A report on a model and data that do not exist."""
    about = {
        "model": "minilm",
        "hosts": ["http://127.0.0.1:1", "http://127.0.0.1:2"],
        "command": "blindtune train --data train.tsv --dev dev.tsv",
        "classes": 2,
        "rows_train": 1000,
        "rows_dev": 872,
        "limit": 0.6,
        "seeds": [0, 1],
        "budget_s": 3600.0,
    }
    return Report(about, tuple(points), tuple(LeftOut(*entry) for entry in left_out))


class Page(HTMLParser):
    """Parses strictly: every element closed in order, ids unique; collects text, ids, references, addresses."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.loads: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        for name, value in attrs:
            assert not name.startswith("on"), f"{name} on {tag}"
            if name == "id":
                self.ids.append(str(value))
            elif name in ("aria-labelledby", "aria-describedby"):
                self.references += str(value).split()
            elif name in ("src", "href", "xlink:href", "srcset", "action", "poster", "data"):
                self.loads.append(str(value))
            self.references += re.findall(r"url\(#([^)]+)\)", str(value))
