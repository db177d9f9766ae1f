"""`frontier.html`: everything a frontier found, on one page that needs no network.

Owns: the page's order and markup. Must never: load anything, or put a text into the page that is not escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from ..training.run_folder import RunFolder
from . import plots
from .estimate import clock
from .formal import label_bound
from .point import TIERS, Report
from .summary import Row, costs, failures, pareto, recommend, summarize
from .words import class_legend, cost_sentence, in_short, left_out_sentence, share_sentences, tier_legend, train_command

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 78rem; margin: 0 auto;
  padding: 1rem 1.5rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 2px solid #111; }
p, li { max-width: 52rem; } a { color: #00487a; }
.short { border-left: 5px solid #0072b2; padding: .2rem 1rem; }
.scroll { overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { border: 1px solid #999; padding: .2rem .5rem; text-align: right; vertical-align: top; }
th { background: #eee; } th[scope=row], td.text { text-align: left; }
td.over { font-weight: 700; } code, pre { font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 0; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  tr, figure { break-inside: avoid; } a { color: inherit; } }
</style>
</head>
<body>
<a class="skip" href="#points">Skip to the table</a>
<header><h1>$title</h1><p>$subtitle</p></header>
<main>
$sections
</main>
</body>
</html>
""")


def write_page(report: Report, folder: Path) -> Path:
    """Write `frontier.html` into the folder; its path. Raises `MissingExtraError` without matplotlib."""
    RunFolder(folder).write("frontier.html", to_html(report).encode())
    return Path(folder) / "frontier.html"


def to_html(report: Report) -> str:
    """The whole page."""
    rows, about = summarize(report.points), report.about
    classes = int(about["classes"])
    subtitle = (
        f"Model {about['model']}, {about['rows_train']} rows trained on, {about['rows_dev']} rows measured on, "
        f"{classes} labels. A leak of {1 / classes:.2f} is guessing; 1.00 is every label."
    )
    sections = [
        _short(report, rows),
        _classes(rows),
        *_drawn(report, rows),
        _points(report, rows),
        _front(rows),
        _fails(report, rows),
    ]
    sections += [_formal(rows), _cost(rows), _attacks(rows), _seeds(report), _settings(rows), _how(report)]
    title = "How much of the labels would the host learn?"
    return PAGE.substitute(title=escape(title), subtitle=escape(subtitle), sections="\n".join(sections))


def escape(text: Any) -> str:
    """Text for HTML, also between quotes."""
    return html.escape(str(text), quote=True)


def _section(name: str, heading: str, *content: str) -> str:
    title = f'<h2 id="{name}-h">{escape(heading)}</h2>'
    inside = "\n".join([title, *content])
    return f'<section id="{name}" aria-labelledby="{name}-h">\n{inside}\n</section>'


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _list(lines: Iterable[str], empty: str) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else _paragraph(empty)


def _table(caption: str, head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Cells are HTML; the first of a line names the line."""
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{line[0]}</th>'
        + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in line[1:])
        + "</tr>"
        for line in body
    )
    inside = f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>{inside}</table></div>'
    )


def _text(value: Any) -> str:
    return f'<td class="text">{escape(value)}</td>'


def _short(report: Report, rows: Sequence[Row]) -> str:
    lines = "".join(_paragraph(line) for line in in_short(report, rows))
    best = recommend(rows, float(report.about["limit"]))
    command = (
        f"<p>To train there:</p><pre><code>{escape(train_command(best, report.about))}</code></pre>" if best else ""
    )
    return _section("short", "In short", f'<div class="short">{lines}{command}</div>')


def _classes(rows: Sequence[Row]) -> str:
    """Every class that was measured, the strongest first: tables and plots are in this order."""
    head = ["class", "what it means", "most accurate", "accuracy"]
    body = [
        [escape(name), _text(meaning), _text(row.name), f"{row.accuracy:.3f}"]
        for name, meaning, row in class_legend(rows)
    ]
    words = "Tables and plots are ordered by it. Blind and bounded are proven; a hurdle was measured, and no more."
    table = _table("Classes of protection", head, body) if body else _paragraph("Nothing was measured.")
    return _section("classes", "Classes of protection", _paragraph(words), table)


def _drawn(report: Report, rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    limit = float(report.about["limit"])
    numbers = "Numbers are those of the table of points. Bars span the bootstrap's 95 % intervals of all seeds."
    first = _figure(
        plots.accuracy_against_leak(rows, limit),
        f"Accuracy against leak in every tier. {numbers} Filled marks are on the front of tiers 0 and 1.",
    )
    training = plots.leak_over_training(rows)
    over = _paragraph("No point was audited while it trained (setting audit_every), so there is nothing to draw.")
    if training is not None:
        over = _figure(training, "The leak at every audit during training, in each tier audited then.")
    cost = _figure(plots.time_and_bytes(rows), "Seconds and bytes of training, means over seeds.")
    return [
        _section("accuracy", "Accuracy against leak", first, _legend()),
        _section("training", "Leak over training", over),
        _section("time", "Time and bytes", cost),
    ]


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _legend() -> str:
    items = "".join(
        f"<dt>Tier {tier}: {escape(name)}</dt><dd>{escape(words)}</dd>" for tier, name, words in tier_legend()
    )
    return f"<dl>{items}</dl>"


def _points(report: Report, rows: Sequence[Row]) -> str:
    head = [
        "",
        "class",
        "hosts",
        "seeds",
        "accuracy (95 %)",
        *(f"tier {tier}" for tier in TIERS),
        "seconds",
        "MB up",
        "MB down",
        "|h|",
    ]
    limit = float(report.about["limit"])
    body = [_point_line(number, row, limit) for number, row in enumerate(rows, start=1)]
    caption = "Every setting: mean accuracy, worst seed's leak (95 %), mean cost"
    note = (
        f"Bold leaks are above the limit of {limit:.2f}. “-” was not measured or never sent. |h| is the smallest set's "
        "activations over the backbone's; far below 1 they hide from the regularizer, not from every attack."
    )
    return _section("points", "The points", _table(caption, head, body), _paragraph(note))


def _point_line(number: int, row: Row, limit: float) -> list[str]:
    low, high = row.accuracy_range
    up, down = row.megabytes
    norm = "-" if row.norm_ratio is None else f"{row.norm_ratio:.2f}"
    seeds = ", ".join(map(str, row.seeds))
    leaks = [_leak_cell(row, tier, limit) for tier in TIERS]
    accuracy = f"{row.accuracy:.3f} ({low:.3f} to {high:.3f})"
    cost = [f"{row.seconds:.0f}", f"{up:.1f}", f"{down:.1f}", norm]
    return [
        escape(f"{number}. {row.name}"),
        _text(row.protection),
        str(row.first.hosts),
        seeds,
        accuracy,
        *leaks,
        *cost,
    ]


def _leak_cell(row: Row, tier: int, limit: float) -> str:
    leak, span = row.tier(tier), row.tier_range(tier)
    if leak is None or span is None:
        return "-"
    text = f"{leak.score:.2f}" + (f" ({span[0]:.2f} to {span[1]:.2f})" if leak.low is not None else "")
    return f'<td class="over">{text}</td>' if leak.score > limit else text


def _front(rows: Sequence[Row]) -> str:
    head = ["", "class", "accuracy", "worst leak of tiers 0 and 1"]
    body = [
        [escape(row.name), _text(row.protection), f"{row.accuracy:.3f}", f"{row.worst() or 0.0:.2f}"]
        for row in pareto(rows)
    ]
    table = (
        _table("No other point is better in both", head, body)
        if body
        else _paragraph("No point was attacked in both tiers.")
    )
    return _section("front", "The pareto front", table)


def _fails(report: Report, rows: Sequence[Row]) -> str:
    found = _list(failures(rows, float(report.about["limit"])), "Nothing measured here fails.")
    left = _list(map(left_out_sentence, report.left_out), "Every point of the grid was measured.")
    return _section("fails", "What fails", found, "<h3>Left out</h3>", left)


def _formal(rows: Sequence[Row]) -> str:
    words = (
        "Everything above was measured: it says what these attacks found, and a better attack may find more. The "
        "lines here are proven and hold for every attack, but only for what training adds about one row's label. A "
        "leak above may be higher than the cap: what the text itself tells of its label, and what the model learned "
        "of the task, is no secret of the row."
    )
    bounds = [(row, bound) for row in rows if (bound := label_bound(row.first.settings, row.first.classes))]
    lines = [f"{row.name}: {bound.sentence()}" for row, bound in bounds]
    lines += [line for row in rows for line in share_sentences(row)]
    noisy = [row.name for row in rows if row.first.settings.get("update_noise")]
    if noisy:
        lines.append(
            f"{', '.join(noisy)}: noise on updates; its bound is told by the run's own report, not computed here"
        )
    return _section(
        "formal",
        "Formal bounds",
        _paragraph(words),
        _list(lines, "No point has one (neither label_epsilon nor shares over several hosts)."),
    )


def _cost(rows: Sequence[Row]) -> str:
    lines = [cost_sentence(cost) for cost in costs(rows)]
    empty = "Needs plain LoRA and a p3eft point with n=2, m=2 and as many steps; they were not both measured."
    return _section("cost", "The price of hiding", _list(lines, empty))


def _attacks(rows: Sequence[Row]) -> str:
    """The best attack of every tier, with its control and the upper bound."""
    head = [
        "",
        "tier",
        "best attack",
        "leak",
        "95 %",
        "shuffled control",
        "excess on trained rows",
        "upper bound: attack chosen with the labels",
        "needs",
    ]
    body = []
    for row in rows:
        for tier in TIERS:
            leak = row.tier(tier)
            if leak is not None:
                span = "-" if leak.low is None or leak.high is None else f"{leak.low:.2f} to {leak.high:.2f}"
                numbers = [_number(value) for value in (leak.control, leak.excess, leak.oracle)]
                line = [escape(row.name), str(tier), _text(leak.attack or "-"), f"{leak.score:.3f}", span]
                body.append([*line, *numbers, _text(leak.assumption or "-")])
    words = (
        "The control is the same attack scored on shuffled labels and should read chance. The excess is what it finds "
        "on rows trained on beyond fresh rows: near 0 means that it learned of the task, not of these rows. The upper "
        "bound is the best attack chosen with the labels in hand, which no host can do."
    )
    return _section("attacks", "The attacks", _table("The worst seed's best attack", head, body), _paragraph(words))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _seeds(report: Report) -> str:
    head = ["", "seed", "accuracy", *(f"tier {tier}" for tier in TIERS), "steps", "seconds", "bytes up", "bytes down"]
    body = []
    for point in report.points:
        leaks = [_number(point.tiers[tier].score if tier in point.tiers else None) for tier in TIERS]
        cost = [str(point.steps), f"{point.seconds:.1f}", str(point.bytes_up), str(point.bytes_down)]
        body.append([escape(point.name), str(point.seed), f"{point.accuracy:.4f}", *leaks, *cost])
    return _section("seeds", "Seed by seed", _table("Every point", head, body))


def _settings(rows: Sequence[Row]) -> str:
    body = [[escape(row.name), _text(json.dumps(_without_seed(row), sort_keys=True))] for row in rows]
    return _section("settings", "Settings of every point", _table("All settings, as resolved", ["", "settings"], body))


def _without_seed(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.first.settings.items() if name != "seed"}


def _how(report: Report) -> str:
    about, found = report.about, sorted({(k, v) for point in report.points for k, v in point.versions.items()})
    hosts = ", ".join(about.get("hosts", ()))
    seeds = ", ".join(map(str, about.get("seeds", ())))
    lines = [
        f"Seeds {seeds}; budget of the last call {clock(about.get('budget_s'))}; hosts {hosts}.",
        "A seed fixes the start of the adapters and the order of the batches. What hides something comes from a secret "
        "drawn anew for every run, so a repeated point differs a little.",
        "A leak is scored on the rows that the audit attacked; its excess compares rows trained on with rows that were "
        "not. Intervals resample rows; they do not cover a different draw of the secret.",
        *(f"{name}: {value}" for name, value in found),
    ]
    return _section("how", "How it was measured", _list(lines, ""))
