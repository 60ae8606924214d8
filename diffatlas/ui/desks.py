"""Answers that take some computing: at desks of their own, in turns, until their page is gone.

They do not wait for the model. Reading an attention map takes a tenth of a second, and must not come after another
visitor's run of a minute; but a hundred of them at once would take all threads of the server, and the processor from
the runs. So there is a small number of desks, and turns at them go round the visitors (`Turns`). What may take many
seconds (the measures of a study, a file of many runs) has desks of its own, so that what is quick never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diffatlas.stopping import ended_by, look
from diffatlas.ui.gone import gone
from diffatlas.ui.turns import Place, Turns

#: What one visitor may have waiting at the desks of a kind, and all together: each holds one of the server's threads.
MOST, IN_ALL = 12, 25
#: Seconds between two looks at whether the page of one who waits is gone.
LOOK = 0.1

QUICK = Turns(4, MOST, IN_ALL, "answers")
LONG = Turns(2, MOST, IN_ALL, "files and measures")

#: What the pages ask that may take longer than a second, however small the model is.
LONG_CALLS = frozenset(
    {
        "measures",
        "study_curves",
        "drift_figure",
        "guidance_figure",
        "growth_figure",
        "distances_figure",
        "agreement_figure",
        "map_figure",
        "study_export",
        "export",
        "bindings",
        "lab_measure",
        "lab_excess",
        "lab_loss_figure",
        "lab_gif",
        "bench_export",
        "boards",
        "board_compare",
        "board_figure",
        "board_apart",
        "bench_explain",
        "bench_why",
        "bench_why_figure",
        "key_check",
        "library_clear",
    }
)
#: What takes a moment, or longer where the model is large.
QUICK_CALLS = frozenset(
    {
        "run_data",
        "curves",
        "project",
        "step",
        "deep",
        "compare",
        "difference",
        "details",
        "study",
        "image_detail",
        "dataset_about",
        "settings_machine",
    }
    | {"attention", "word_maps", "words_at", "daam", "looks_at", "objects", "divergence"}
    | {"attention_curves", "attention_words"}
    | {"bench", "bench_thumbs", "bench_card", "bench_results", "bench_rates", "bench_threshold"}
    | {"pack_open", "pack_check", "pack_keep", "pack_import", "pack_task"}
    | {
        "lab_paths",
        "lab_density",
        "lab_field",
        "lab_quality_figure",
        "lab_budget_figure",
        "lab_memory_figure",
    }
)

_lock = threading.Lock()
_stops: dict[tuple[str, str], set[threading.Event]] = {}


def desk_for(name: str) -> Turns | None:
    """Return the desks at which a call of this name is answered; None where it computes nothing."""
    return LONG if name in LONG_CALLS else QUICK if name in QUICK_CALLS else None


@contextmanager
def at_desk(name: str, visitor: str) -> Iterator[None]:
    """Wait for a desk and hold it; what is done there ends (`look`) when its page is gone, or it is stopped.

    Raises `TooMuch` where as many wait as may, and `Stopped`.
    """
    desks = desk_for(name)
    if desks is None:
        yield
        return
    page, stop = gone(), threading.Event()
    with _lock:
        _stops.setdefault((visitor, name), set()).add(stop)
    try:
        with placed(desks, visitor, lambda: page.is_set() or stop.is_set()):
            yield
    finally:
        with _lock:
            _stops[visitor, name].discard(stop)
            if not _stops[visitor, name]:
                del _stops[visitor, name]


@contextmanager
def placed(
    desks: Turns, visitor: str, ended: Callable[[], bool], tell: Callable[[Place], None] = lambda place: None
) -> Iterator[None]:
    """Wait for a desk and hold it, for what ends once ``ended()``. Raises `TooMuch` and `Stopped`."""
    ticket = desks.join(visitor)
    try:
        for place in desks.waiting(ticket, ended, LOOK):
            tell(place)
        with ended_by(ended):
            look()
            yield
    finally:
        desks.leave(ticket)


def stop(visitor: str, name: str) -> None:
    """End what a visitor has asked by this name and is still being answered."""
    with _lock:
        for each in _stops.get((visitor, name), ()):
            each.set()
