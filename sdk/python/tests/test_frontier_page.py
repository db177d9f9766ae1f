"""frontier.html: well formed, self-contained, readable without seeing it, and saying what fails."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from xml.etree import ElementTree

from frontier_points import EVIL, Page, leak, point, report

from blindtune.frontier.page import to_html
from blindtune.frontier.plots import MARKS
from blindtune.frontier.point import Report
from blindtune.frontier.tables import to_csv
from blindtune.training.settings import METHODS

SVG_TEXT = "{http://www.w3.org/2000/svg}text"


def full_report() -> Report:
    tiers = {tier: leak(0.5 + 0.1 * tier, low=0.48 + 0.1 * tier, high=0.52 + 0.1 * tier) for tier in range(5)}
    history = tuple({"step": step, "tiers": {"0": 0.6, "1": 0.7}, "weight": 0.3} for step in (50, 100))
    names = ("frozen", "lora", "p3eft")
    points = [point(name, seed, method=name, tiers=tiers, history=history) for seed in (0, 1) for name in names]
    capped = point(EVIL, 0, extra={"label_epsilon": 2.0}, tiers=tiers)
    return report([*points, capped], left_out=[("p3eft, weights 1", 0, "over budget", "takes about 9 min")])


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    content = to_html(full_report())
    page = Page(content)
    assert not [name for name, count in Counter(page.ids).items() if count > 1]
    assert set(page.references) <= set(page.ids)
    assert all(address.startswith("#") and address[1:] in page.ids for address in page.loads), page.loads
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    assert "@import" not in content and "url(http" not in content
    policy = [dict(a).get("content") for tag, a in page.attributes if tag == "meta" and "http-equiv" in a]
    assert policy and policy[0] is not None and "default-src 'none'" in policy[0]


def test_plots_are_whole_and_tell_methods_apart_without_colour() -> None:
    pictures = re.findall(r"<svg.*?</svg>", to_html(full_report()), flags=re.DOTALL)
    assert len(pictures) == 3
    texts = [" ".join("".join(e.itertext()) for e in ElementTree.fromstring(p).iter(SVG_TEXT)) for p in pictures]
    for tier in range(5):
        assert f"Tier {tier}:" in texts[0]
    assert all(word in texts[0] for word in ("frozen", "lora", "p3eft", "limit", "accuracy"))
    assert "step" in texts[1] and "tier 1" in texts[1] and EVIL in texts[2] and "megabytes" in texts[2]
    measured = set(METHODS) - {"auto"}  # which chooses among the others, and is in no grid
    assert len({MARKS[method] for method in measured}) == len(measured), "a shape for each method"


def test_the_page_can_be_read_without_seeing_it() -> None:
    page = Page(to_html(full_report()))
    assert ("html", {"lang": "en"}) in page.attributes
    pictures = [a for tag, a in page.attributes if tag == "svg"]
    assert len(pictures) == 3 and all(a.get("role") == "img" and a.get("aria-labelledby") for a in pictures)
    assert page.tags["title"] == 1 + len(pictures) and page.tags["desc"] == len(pictures)
    assert page.tags["h1"] == page.tags["main"] == 1 and page.tags["table"] == page.tags["caption"] > 4
    assert all(a.get("scope") in ("col", "row") for tag, a in page.attributes if tag == "th")


def test_the_page_says_everything_once_measured_and_once_proven() -> None:
    page = Page(to_html(full_report()))
    assert EVIL in page.text and "over budget (takes about 9 min)" in page.text
    measured, proven = page.text.split("Formal bounds", 1)
    assert "88.1%" in proven.split("The price of hiding")[0] and "88.1%" not in measured, "a cap is not a measurement"
    for words in ("0.90 (0.88 to 0.92)", "Seeds 0, 1", "numpy", "blindtune train", "not covered", "shuffled"):
        assert words in page.text


def test_without_a_point_the_page_says_so() -> None:
    page = Page(to_html(report([], left_out=[("lora", 0, "failed", "the host is gone")])))
    assert "Nothing was measured" in page.text and "the host is gone" in page.text


def test_the_table_has_a_line_for_every_point_and_every_one_left_out() -> None:
    found = full_report()
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert sorted(line["name"] for line in lines) == sorted(e.name for e in (*found.points, *found.left_out))
    classes = [line["protection"] for line in lines[:-1]]
    assert classes == ["blind", "blind", "bounded", "hurdle", "hurdle", "open", "open"]
    assert lines[-1]["status"] == "over budget" and lines[-1]["accuracy"] == ""
    assert float(lines[2]["formal_label_epsilon"]) == 2.0 and lines[0]["formal_label_epsilon"] == ""
