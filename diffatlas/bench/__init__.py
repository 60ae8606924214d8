"""Task packs, what judges images by them, and the statistics of the verdicts.

From a notebook::

    from diffatlas import bench

    found = bench.run("shapes", model="shapes", each=2, seeds=4)     # made, judged, kept in the library
    bench.count(bench.judged(found, "shapes"))                       # rates and their intervals, by category
    bench.judge(found, "clip")                                       # by another scorer; no image is made
    bench.differences(bench.judged(found, "shapes"), bench.judged(other, "shapes"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffatlas.bench.bench import Bench, Mark, judged
    from diffatlas.bench.counted import count, differences
    from diffatlas.bench.packs.files import read_pack
    from diffatlas.bench.packs.shipped import shipped_pack
    from diffatlas.bench.scored import open_scorer
    from diffatlas.bench.session import ask, judge, list_benches, open_bench, resume, run
    from diffatlas.bench.tasks import Pack, Task

#: Public name -> the module that defines it.
_HOMES = {
    "Bench": "bench",
    "Mark": "bench",
    "Pack": "tasks",
    "Task": "tasks",
    "ask": "session",
    "count": "counted",
    "differences": "counted",
    "judge": "session",
    "judged": "bench",
    "list_benches": "session",
    "open_bench": "session",
    "open_scorer": "scored",
    "read_pack": "packs.files",
    "resume": "session",
    "run": "session",
    "shipped_pack": "packs.shipped",
}

__all__ = [
    "Bench",
    "Mark",
    "Pack",
    "Task",
    "ask",
    "count",
    "differences",
    "judge",
    "judged",
    "list_benches",
    "open_bench",
    "open_scorer",
    "read_pack",
    "resume",
    "run",
    "shipped_pack",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
