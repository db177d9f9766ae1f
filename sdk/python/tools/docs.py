"""Builds the reference from the docstrings: `python tools/docs.py folder`.

A warning, or a public name without words, fails.
pdoc reads the package as it is imported. Modules of extras that are not installed cannot be imported, and are named.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pdoc
from pdoc.doc import Class, Doc, Module, Variable

PACKAGE = "blindtune"
SHELL = ["blindtune", "cli"]
"""Nobody imports it; `blindtune --help` is its reference."""
NEEDS = {"blindtune.torch": "torch", "blindtune.private.side.ladder": "torch"}


def main(folder: Path) -> None:
    """Write the pages into `folder`."""
    absent = [module for module, needed in NEEDS.items() if importlib.util.find_spec(needed) is None]
    names = [PACKAGE, *(name for name in _modules() if name not in absent)]
    # Its first import on a machine asks the system for fonts, which pdoc forbids while it imports.
    importlib.import_module("matplotlib.font_manager")
    pdoc.render.configure(docformat="markdown", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wordless = [doc.fullname for name in names for doc in _wordless(Module.from_name(name))]
        if wordless:
            sys.exit("public names without a docstring:\n  " + "\n  ".join(wordless))
        pdoc.pdoc(*_roots(names), output_directory=folder)
    left_out = f", without {', '.join(absent)} (not installed)" if absent else ""
    print(f"{len(names)} modules in {folder}{left_out}")


def _modules() -> Iterator[str]:
    """All public modules. pdoc itself looks only at those that a package's `__all__` names."""
    package = importlib.import_module(PACKAGE)
    for name in getattr(package, "__all__", ()):
        getattr(package, name)  # loaded when first asked for; pdoc looks only at what is there
    for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        hidden = any(part.startswith("_") for part in found.name.split("."))
        if not hidden and found.name.split(".")[:2] != SHELL:
            yield found.name


def _roots(names: list[str]) -> list[str]:
    """The modules that pdoc does not come to by itself from those before them."""
    roots: list[str] = []
    walked: set[str] = set()
    for name in names:
        if name not in walked:
            roots.append(name)
            walked |= set(pdoc.extract.walk_specs([name]))
    return roots


def _wordless(doc: Doc[object]) -> Iterator[Doc[object]]:
    """Public modules, classes, functions and properties that say nothing; fields are told of in their class's words."""
    if not isinstance(doc, Variable) and not doc.docstring.strip():
        yield doc
    if isinstance(doc, (Module, Class)):
        for member in doc.own_members:
            submodule = isinstance(member, Module)  # they are walked by themselves
            if not submodule and not member.name.startswith("_"):
                yield from _wordless(member)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
