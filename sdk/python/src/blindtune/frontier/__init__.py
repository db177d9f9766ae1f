"""The frontier: accuracy against leak over many settings, under a time budget.

Owns: the names below. Must never: train anything by itself; `runner.run_frontier` asks `Tuner` for every point.
"""

from .formal import Bound, label_bound
from .grid import GridPoint, make_grid
from .measure import Rows, Where, measure
from .page import to_html, write_page
from .point import FORMAT, LeftOut, Point, Report, TierLeak
from .runner import Plan, run_frontier
from .summary import Row, costs, failures, pareto, recommend, summarize
from .tables import to_csv, write_tables

__all__ = [
    "FORMAT",
    "Bound",
    "GridPoint",
    "LeftOut",
    "Plan",
    "Point",
    "Report",
    "Row",
    "Rows",
    "TierLeak",
    "Where",
    "costs",
    "failures",
    "label_bound",
    "make_grid",
    "measure",
    "pareto",
    "recommend",
    "run_frontier",
    "summarize",
    "to_csv",
    "to_html",
    "write_page",
    "write_tables",
]
