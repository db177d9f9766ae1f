"""A model card in Hugging Face's form: what a run is, how good it is, and how well its labels were kept, in words.

Owns: the Markdown. Must never: have a text; a label's name where it was not asked for; in the open part of an export
anything that is made of labels; or leave out in silence what is not known. What is said of protection and leak are the
words of protection.py, verdict.py and the audit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._version import __version__
from ..audit.gates import COUNTED
from ..audit.report import TIERS
from .card_facts import CardFacts
from .protection import MEANING

WIDEST = 12
"""Labels whose matrix or table a card still has; `evaluation.json` has it of more."""
CLOSED = (
    "Not in this file: it lies in the open part of an export, which holds nothing that is made of labels. "
    "`blindtune card RUN --out README.md --force` writes a card with it."
)
METRICS = ("accuracy", "f1_macro", "f1_micro", "precision_macro", "recall_macro", "auc", "spearman", "rmse", "loss")
"""Of an evaluation, in this order."""
TYPES = {"f1_macro": "f1", "f1_micro": "f1", "precision_macro": "precision", "recall_macro": "recall"}
TYPES |= {"auc": "roc_auc", "spearman": "spearmanr", "rmse": "rmse"}
"""Names that the Hub has for them."""
OTHERS = "Of other texts, other languages and later times nothing was measured."
LIMITS = (
    "A prediction is a statistical guess. Where it decides about a person, let somebody look who can overrule it.",
    "What is protected are the labels. **The texts are not**: a host reads those of the training and of predictions.",
    "**Missing, since blindtune cannot know it:** the licences of data and base model, the languages, what the labels "
    "mean, and whether errors fall on some groups more than on others. Add them before you pass the card on.",
)
PEFT = (
    "PEFT loads the folders `set0`, `set1`, ... of an export. They alone predict nothing: head and mixing weights are "
    "in its private file."
)
PIPELINES = {"tokens": "token-classification"}
ADAPTERS = ("p3eft", "lora", "dc", "pslf")


def model_card(facts: CardFacts, with_label_names: bool = False) -> str:
    """The whole card: YAML between two lines of dashes, and Markdown."""
    shown = _Names(facts.label_names, with_label_names)
    parts: list[tuple[str, Callable[[CardFacts, _Names], Iterator[str]]]] = [
        ("What it is", _what),
        ("Data", _data),
        ("How good it is", _scores),
        ("From which probability on a label is said", _thresholds),
        ("How well the labels were kept", _protection),
        ("What a host saw", _host),
        ("Intended use and limits", _limits),
        ("How to load it", _loading),
    ]
    title = f"{facts.model}, fine-tuned with blindtune"
    sections = ["\n".join([f"## {name}", "", *part(facts, shown)]) for name, part in parts]
    return "\n\n".join([_front(facts), f"# {title}", *sections]) + "\n"


class _Names:
    """Label names, or numbers in their place."""

    def __init__(self, names: Sequence[str], said: bool) -> None:
        self.said = said
        self._shown = {name: name if said else f"label {k + 1}" for k, name in enumerate(names)}

    def of(self, name: str) -> str:
        """What the card says of a label."""
        return self._shown.get(name, name if self.said else "a label")

    @property
    def all(self) -> list[str]:
        """Of every label."""
        return list(self._shown.values())


# YAML.


def _front(facts: CardFacts) -> str:
    """The fields that the Hub reads. Strings are JSON's, which YAML reads too."""
    body: dict[str, Any] = {"library_name": "blindtune", "base_model": facts.model}
    if facts.settings.method in ADAPTERS:
        body["base_model_relation"] = "adapter"
    if facts.task is not None:
        body["pipeline_tag"] = PIPELINES.get(facts.task, "text-classification")
    body["tags"] = ["blindtune", "label-privacy", f"method-{facts.settings.method}", f"protection-{facts.protection}"]
    scores, _ = _best_scores(facts)
    known = {name: scores[name] for name in METRICS if name in scores}
    if known:
        body["metrics"] = list(dict.fromkeys(TYPES.get(name, name) for name in known))
        found = [
            {"type": TYPES.get(name, name), "value": round(value, 6), "name": name} for name, value in known.items()
        ]
        dataset = {"type": "private", "name": "rows of the label holder, not published"}
        task = {"type": body.get("pipeline_tag", "text-classification")}
        results = [{"task": task, "dataset": dataset, "metrics": found}]
        body["model-index"] = [{"name": f"{facts.model}-blindtune", "results": results}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in body.items()]
    return "\n".join(["---", *lines, "---"])


# Sections.


def _what(facts: CardFacts, _: _Names) -> Iterator[str]:
    report, mine = facts.report, facts.settings
    kind = {"side": "networks at home on the frozen backbone", "frozen": "a head at home on the frozen backbone"}
    what = kind.get(mine.method, "LoRA adapters on a host, with the head at home")
    rows = {"method": f"{mine.method}: {what}", "base model": f"{facts.model} (its name on the host)"}
    rows["revision of the base model"] = facts.revision or "not known here: the host keeps it under that name"
    if not facts.open_part:
        rows["task"] = facts.task or "not recorded"
    rows["hosts that trained it"] = "not recorded" if facts.hosts is None else str(facts.hosts)
    if facts.steps is not None:
        rows["steps"] = str(facts.steps)
    trained = report.get("blindtune")
    rows["blindtune"] = f"trained with {trained or 'a version that is not recorded'}; this card is of {__version__}"
    yield from _table(["what", "value"], rows.items())
    changed = [(f"`{name}`", json.dumps(value)) for name, value in facts.changed.items() if name != "method"]
    yield ""
    if changed:
        yield from ["Settings that are not the default:", "", *_table(["setting", "value"], changed)]
    else:
        yield "All settings are the default."
    if facts.decision:
        yield from ["", "Method auto chose it:", "", *(f"- {line}" for line in facts.decision)]


def _data(facts: CardFacts, names: _Names) -> Iterator[str]:
    if facts.open_part:
        yield CLOSED
        return
    report = facts.report
    rows = report.get("rows")
    pairs = {True: ", pairs of texts", False: ", single texts", None: ""}[report.get("pairs")]
    yield (
        f"- {rows} rows{pairs}"
        if rows is not None
        else "- **Missing:** how many rows it was trained on is not recorded."
    )
    dev = report.get("dev")
    yield (
        f"- {dev['rows']:.0f} dev rows, not trained on"
        if dev
        else "- **Missing:** no dev rows were given to the training."
    )
    if facts.task == "regression":
        yield "- numbers are predicted, not labels"
    elif names.said:
        yield f"- {len(names.all)} labels: {', '.join(names.all)}"
    else:
        yield f"- {len(names.all)} labels, whose names are left out here (`--with-label-names`)"
    yield "- no text of the data is in this card"


def _best_scores(facts: CardFacts) -> tuple[Mapping[str, float], str]:
    """Those of the newest evaluation there is, and where they are from."""
    if facts.open_part:
        return {}, ""
    if facts.evaluation:
        return facts.evaluation["report"]["scores"], "the last evaluation"
    return facts.report.get("dev") or {}, "the dev rows, at the end of the training"


def _scores(facts: CardFacts, names: _Names) -> Iterator[str]:
    if facts.open_part:
        yield CLOSED
        return
    scores, where = _best_scores(facts)
    if not scores:
        yield "**Missing:** no dev rows were evaluated, so how good it is on fresh rows is not known."
        yield "`blindtune evaluate --run RUN --data dev.tsv` measures it, and the next card has it."
        return
    yield f"On {scores['rows']:.0f} rows ({where}):"
    yield ""
    yield from _table(["metric", "value"], [(n, f"{scores[n]:.4f}") for n in METRICS if n in scores])
    yield from _remarks(facts)
    found = facts.evaluation.get("report") or {}
    labels = found.get("labels") or []
    if 0 < len(labels) <= WIDEST:
        shown = [
            [names.of(one["name"]), *(f"{one[n]:.3f}" for n in ("precision", "recall", "f1")), one["rows"]]
            for one in labels
        ]
        yield from ["", *_table(["label", "precision", "recall", "F1", "rows"], shown)]
    if found.get("confusion") and len(found["confusion"]) <= WIDEST:
        head = [names.of(one["name"]) for one in labels]
        matrix = [[name, *row] for name, row in zip(head, found["confusion"], strict=True)]
        yield from ["", "A row for each true label, a column for each guess:", ""]
        yield from _table(["true \\ guessed", *head], matrix)
    elif facts.task == "classification" and not found:
        yield from ["", "**Missing:** the confusion matrix. `blindtune evaluate` keeps one."]


def _remarks(facts: CardFacts) -> Iterator[str]:
    """What to know of these scores before one believes them."""
    yield from _out_of_date(facts, "measured", facts.evaluated_after)
    if facts.evaluation.get("rows_of_the_training"):
        yield from ["", "**These are the rows of the training**: the scores say nothing about fresh ones."]
    said = (facts.evaluation.get("report") or {}).get("decided_by") or []
    if facts.decided_by != tuple(line for line in said if line != facts.note):
        yield from ["", "Measured under other thresholds than those in use, which the next section has."]
    elif facts.note and facts.note in said:
        yield from ["", f"A threshold was {facts.note}."]
    yield from _of_calibration(facts)
    if not facts.evaluation and facts.settings.eval_every is not None:
        yield from ["", "The state that is kept was chosen on these rows, so the scores are a little too good."]


def _of_calibration(facts: CardFacts) -> Iterator[str]:
    """Whether these scores are of the probabilities that the run gives now."""
    said = (facts.evaluation.get("report") or {}).get("calibrated_by") or [""]
    if said[0] != facts.calibrated_by:
        yield from ["", "Measured under another temperature than the one in use, so with another loss."]
    elif facts.fit_note and facts.fit_note in said:
        yield from ["", f"The temperature was {facts.fit_note}."]


def _out_of_date(facts: CardFacts, done: str, after: int | None) -> Iterator[str]:
    if after is not None and after != facts.steps:
        yield from ["", f"**Out of date:** {done} after {after} steps, and the run has made {facts.steps}."]


def _thresholds(facts: CardFacts, names: _Names) -> Iterator[str]:
    if facts.open_part:
        yield CLOSED
    elif facts.task in ("regression", "tokens"):
        yield f"Does not apply to task {facts.task}."
    elif not facts.thresholds:
        yield "No threshold was chosen: the likeliest label is said, of several labels each from probability 0.5 on."
    else:
        yield from (f"- {replace(one, label=names.of(one.label))}" for one in facts.thresholds)
        yield f"- {facts.note}"
    if facts.calibrated_by:
        yield from ["", f"Calibrated: {facts.calibrated_by}."]


def _protection(facts: CardFacts, _: _Names) -> Iterator[str]:
    if facts.judgement is None:
        yield f"protection: **{facts.protection}**: {MEANING[facts.protection]}"
        yield from ["", f"What an audit found: {CLOSED[0].lower()}{CLOSED[1:]}"]
        return
    yield from _verdict(facts.judgement.lines())
    leak = facts.report.get("leak")
    yield ""
    if not leak:
        yield "**Missing:** no audit was made. `blindtune audit --run RUN --data dev.tsv` attacks what the hosts saw."
        return
    limit = facts.judgement.limit
    tiers = [
        (tier, TIERS[tier], f"{score:.3f}", _limit(facts, tier, limit))
        for tier, score in sorted(facts.judgement.tiers.items())
    ]
    yield from [f"What attacks found ({1 / leak['classes']:.2f} is guessing, 1.00 every label):", ""]
    yield from _table(["tier", "attacks", "worst", "limit"], tiers)
    effort = facts.report.get("effort")
    made = f"Effort of the audit: {effort}. " if effort else ""
    yield from ["", f"{made}A low number is not a proof: these attacks failed on these rows, and stronger ones exist."]
    yield from _out_of_date(facts, "audited", facts.audited_after)


def _verdict(lines: Sequence[str]) -> Iterator[str]:
    """The verdict's lines, as Markdown keeps them apart."""
    items = [line for line in lines if line.startswith("  - ")]
    for line in lines:
        if line not in items:
            yield f"- {line}"
        else:
            yield line


def _limit(facts: CardFacts, tier: int, limit: float) -> str:
    if facts.protection == "blind":
        return "none applies"
    return f"{limit:.3f}" if tier in COUNTED else "beyond the limit"


def _host(facts: CardFacts, _: _Names) -> Iterator[str]:
    if not facts.host_learns:
        yield "**Missing:** how many hosts trained it is not known here, and what each saw depends on it."
        return
    yield from (f"- {line}" for line in facts.host_learns)


def _limits(facts: CardFacts, _: _Names) -> Iterator[str]:
    said = {"regression": "a number", "multilabel": "its labels", "tokens": "its spans"}.get(
        facts.task or "", "a label"
    )
    yield f"- Made to give {said} to texts like those of the training. {OTHERS}"
    yield from (f"- {line}" for line in LIMITS)


def _loading(facts: CardFacts, _: _Names) -> Iterator[str]:
    if facts.open_part:
        yield from ["```python", "from blindtune.export import load_export", ""]
        yield from [
            'tuner = load_export("FOLDER", "https://HOST/v1")  # and passphrase=, where the private file is encrypted'
        ]
    else:
        yield from ["```python", "from blindtune import Tuner", ""]
        yield 'tuner = Tuner.load("RUN")  # its hosts, or others: Tuner.load("RUN", ["https://HOST/v1"])'
    yield from [
        'print(tuner.predict_values(["a text"]))' if facts.task == "regression" else 'print(tuner.predict(["a text"]))'
    ]
    yield from [
        "```",
        "",
        "The key is taken from `BLINDTUNE_API_KEY`. The host needs the base model under the same name.",
    ]
    if facts.settings.method in ADAPTERS:
        yield from ["", PEFT]


def _table(head: Sequence[Any], rows: Any) -> Iterator[str]:
    """Markdown; a bar within a cell would end it."""
    yield _row(head)
    yield "|" + "---|" * len(head)
    yield from (_row(row) for row in rows)


def _row(cells: Sequence[Any]) -> str:
    plain = [" ".join(str(cell).replace("|", "\\|").split()) for cell in cells]
    return f"| {' | '.join(plain)} |"
