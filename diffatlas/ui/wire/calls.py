"""All that the pages call, by name: what is asked, and what is answered."""

from __future__ import annotations

from diffatlas.ui.wire import (
    attention,
    bench,
    boards,
    lab,
    lab_studies,
    library,
    packs,
    runs,
    settings,
    studies,
    study_figures,
)
from diffatlas.ui.wire.call import Call

CALLS: dict[str, Call] = {
    **runs.CALLS,
    **library.CALLS,
    **attention.CALLS,
    **bench.CALLS,
    **boards.CALLS,
    **packs.CALLS,
    **studies.CALLS,
    **study_figures.CALLS,
    **lab.CALLS,
    **lab_studies.CALLS,
    **settings.CALLS,
}
