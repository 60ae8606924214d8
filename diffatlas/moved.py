"""Modules that have another name than in an earlier version: importing the earlier name gives the module of today."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: The earlier name -> that of today, both without ``diffatlas.``.
MOVED = {
    "library.dataset": "formats.dataset.write",
    "library.dataset_card": "formats.dataset.card",
    "library.dataset_import": "formats.dataset.read",
    "library.dataset_rows": "formats.dataset.rows",
    "library.dataset_schema": "formats.dataset.schema",
    "library.hub": "formats.dataset.hub",
    "library.static_check": "formats.static.check",
    "library.static_format": "formats.static.contract",
    "library.static_import": "formats.static.read",
    "operations.measure": "studies.measure_cells",
    "operations.measure_neighbourhood": "studies.measure_neighbourhood",
    "operations.measure_sweep": "studies.measure_sweep",
    "operations.plan_lanes": "studies.plan_lanes",
    "operations.plan_neighbourhood": "studies.plan_neighbourhood",
    "operations.plan_sweep": "studies.plan_sweep",
    "operations.study": "studies.run",
    "operations.study_board": "studies.run_board",
    "operations.study_lane": "studies.run_lane",
}
MOVED |= {
    f"export.{earlier}": f"formats.{today}"
    for earlier, today in {
        "arrays": "tables.arrays",
        "attention_json": "tables.attention",
        "bundle": "bundle",
        "charts": "charts",
        "code": "code",
        "compared": "compared",
        "files": "files",
        "film": "sheet.film",
        "html_data": "html.data",
        "html_page": "html.page",
        "kinds": "kinds",
        "lab_code": "lab_code",
        "movie": "movie.run",
        "named": "named",
        "report": "report.run",
        "shown": "shown",
        "static_folder": "static.write",
        "static_metrics": "static.metrics",
        "study_kinds": "study_kinds",
        "study_report": "report.study",
        "study_sheet": "sheet.study",
        "study_tables": "tables.study",
        "tables": "tables.runs",
        "told": "told",
    }.items()
}
_PACKAGE = "diffatlas."
#: A room that is no more: a package of earlier names alone.
_ROOM = "diffatlas.export"


class MovedModules(MetaPathFinder, Loader):
    """Finds the earlier names. The module of today stands under both names, so that there is one of it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load an earlier name, None for any other."""
        if fullname == _ROOM:
            return ModuleSpec(fullname, self, is_package=True)
        if fullname.startswith(_PACKAGE) and fullname.removeprefix(_PACKAGE) in MOVED:
            return ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python; `exec_module` puts another in its place."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today where the earlier name is looked up."""
        if module.__name__ == _ROOM:
            return
        today = _PACKAGE + MOVED[module.__name__.removeprefix(_PACKAGE)]
        warnings.warn(f"{module.__name__} is now {today}.", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(today)


def install() -> None:
    """Have the earlier names found, before a folder of today that has the same."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
