"""The floor plan as tests: no circle of imports, the wall between labels and what sends, layers that look down only.

An import counts wherever it stands, in a function too, but for types only (`if TYPE_CHECKING:`). The lazy `__init__`
of the package counts for nothing: it is the front door, and no room lies behind it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "blindtune"
Graph = dict[str, set[str]]

LAYERS = (
    {"_version", "arrays", "errors", "extras", "optimizers", "plots", "rounding", "tasks", "_generated"},
    {"data"},
    {"client", "private"},
    {"features"},
    {"audit"},
    {"training"},
    {"sklearn", "torch"},
    {"frontier", "gateway"},
    {"board"},
    {"cli"},
)
"""Rooms from the ground up. Those of one layer but the lowest do not know each other."""
GROUND = LAYERS[0]
FACADES = {"settings", "trainer", "export"}
"""Paths that users have: they lead to a room, and nothing in the house goes through them."""


def imports(source: str, module: str, package: bool, known: set[str]) -> Iterator[str]:
    """The modules, relative to the package, that this source imports. `known` tells a module from a name in one."""
    here = module.split(".") if package else module.split(".")[:-1]
    for node in _live(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        else:
            above = ["blindtune", *here][: len(here) + 2 - node.level] if node.level else []
            place = ".".join([*above, *([node.module] if node.module else [])])
            found = [f"{place}.{alias.name}" for alias in node.names]
        for name in found:
            if name == "blindtune" or name.startswith("blindtune."):
                inner = name.removeprefix("blindtune").removeprefix(".")
                yield inner if inner in known else inner.rpartition(".")[0] or "__init__"


def _live(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _live(ast.Module([other], []))
        else:
            yield from _live(child)


@cache
def house() -> Graph:
    """Every module of the SDK but the lazy `__init__`, and what it imports of the others."""
    files = {_name(path): path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"}
    return {
        name: set(imports(path.read_text(encoding="utf-8"), name, path.name == "__init__.py", set(files))) - {name}
        for name, path in files.items()
    }


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    return module.split(".")[0]


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one circle, in order; none where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def between(graph: Graph, importers: set[str], imported: set[str]) -> set[tuple[str, str]]:
    """Imports from some rooms into others."""
    return {(a, b) for a, targets in graph.items() for b in targets if room(a) in importers and room(b) in imported}


def upwards(graph: Graph) -> set[tuple[str, str]]:
    """Imports that go up, or across within a layer."""
    level = {name: height for height, layer in enumerate(LAYERS) for name in layer}
    return {
        (a, b)
        for a, targets in graph.items()
        for b in targets
        if room(a) not in FACADES
        and room(a) != room(b)
        and (room(b) not in level or level[room(b)] > level[room(a)] or level[room(b)] == level[room(a)] > 0)
    }


def test_every_module_has_a_room() -> None:
    assert {room(name) for name in house()} == set().union(*LAYERS) | FACADES
    assert len(house()) > 100 and "client.step_calls" in house()["training.host_group"], "the graph is read"


def test_imports_make_no_circle() -> None:
    """Between rooms and within them; a room counts as one, so that two do not know each other by different modules."""
    assert circle(house()) == []
    assert circle({a: {room(b) for b in targets} - {a} for a, targets in _by_room().items()}) == []


def _by_room() -> Graph:
    rooms: Graph = {}
    for name, targets in house().items():
        rooms.setdefault(room(name), set()).update(targets)
    return rooms


def test_what_knows_a_label_and_what_sends_do_not_know_each_other() -> None:
    """The product. What sends does not read rows either: a `Dataset` has labels."""
    assert between(house(), {"private"}, {"client", "_generated"}) == set()
    assert between(house(), {"client", "_generated"}, {"private", "data"}) == set()
    assert between(house(), {"features"}, {"private"}) == set(), "what asks for features knows no label"
    assert {b for _, b in between(house(), {"features"}, {"data"})} == {"data.chunks", "data.taps"}
    assert _reached("client") <= GROUND | {"client"}
    assert _reached("private") <= GROUND - {"_generated"} | {"private", "data"}


def _reached(start: str) -> set[str]:
    """The rooms that a room or a module comes to, over any number of imports."""
    todo = {name for name in house() if start in (name, room(name))}
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= house().get(name, set()) - seen
    return {room(name) for name in seen}


def test_layers_import_downwards_only() -> None:
    assert upwards(house()) == set()


def both(graph: Graph, one: Callable[[str], bool], other: Callable[[str], bool]) -> set[str]:
    """Modules that import of the one kind and of the other."""
    return {name for name, targets in graph.items() if any(map(one, targets)) and any(map(other, targets))}


def is_private(module: str) -> bool:
    return room(module) == "private"


def is_settings(module: str) -> bool:
    return module in ("settings", "training.settings")


def test_no_module_imports_from_both_sides_of_the_wall() -> None:
    """They meet in the room of a run, where obfuscated gradients pass from private_backprop.py to host_group.py."""
    assert both(house(), is_private, lambda name: room(name) == "client") == set()
    sides = {room(name) for name, targets in house().items() if any(map(is_private, targets))}
    assert sides - {"private"} == {"training", "frontier"}
    assert "private.obfuscation" in house()["training.private_backprop"]
    assert "client.step_calls" in house()["training.host_group"]


def test_the_factory_alone_knows_settings_and_private_parts() -> None:
    """Which setting makes which part is said once; settings themselves know no part, however far one looks."""
    assert both(house(), is_settings, is_private) == {"training.factory"}
    assert _reached("training.settings") == {"training", "rounding"}
    assert is_settings("training.settings") and "training.settings" in house()["training.trainer"]


def test_facades_are_for_users() -> None:
    assert between(house(), set().union(*LAYERS), FACADES | {"__init__"}) == set()


@pytest.mark.parametrize(
    ("source", "module", "package", "found"),
    [
        ("from . import transport", "client.connection", False, {"client.transport"}),
        ("from .transport import RetryPolicy", "client.connection", False, {"client.transport"}),
        ("from .connect import connect", "client", True, {"client.connect"}),
        ("from ...private import secret", "client.aio.jobs", False, {"private.secret"}),
        ("def f():\n    from ..private.secret import SecretStream", "client.connect", False, {"private.secret"}),
        ("import blindtune.private.secret", "client.connect", False, {"private.secret"}),
        ("from blindtune.private import secret", "client.connect", False, {"private.secret"}),
        ("from .. import Client", "audit.assess", False, {"__init__"}),
        ("import blindtune", "audit.assess", False, {"__init__"}),
        (
            "if TYPE_CHECKING:\n    from ..private import secret\nelse:\n    from .. import errors",
            "client.paging",
            False,
            {"errors"},
        ),
        ("import numpy\nfrom httpx import Client", "client.connect", False, set()),
    ],
)
def test_imports_are_read_in_every_form(source: str, module: str, package: bool, found: set[str]) -> None:
    assert set(imports(source, module, package, set(house()))) == found


def test_violations_are_noticed() -> None:
    """The same rules on a house with a wrong door in it."""
    assert len(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == 4
    wrong = {"private.secret": {"client.connect"}, "client.paging": {"private.heads"}, "data.dataset": {"training.run"}}
    assert len(between(wrong, {"private"}, {"client"})) == len(between(wrong, {"client"}, {"private"})) == 1
    assert upwards(wrong) == {(a, b) for a, targets in wrong.items() for b in targets}
    knowing = {"training.run": {"training.settings", "private.heads"}, "cli": {"settings"}, "torch": {"private.pslf"}}
    assert both(knowing, is_settings, is_private) == {"training.run"}
