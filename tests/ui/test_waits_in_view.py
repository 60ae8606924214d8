"""What a cell waits for, as the pages have it: there while it waits, and gone when it goes on."""

from dataclasses import replace

import pytest

from diffatlas.bench.bench import Bench
from diffatlas.bench.packs.shapes import shapes_pack
from diffatlas.bench.plan import plan_bench
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import CellBegan, CellEnded, CellWaits, StudyChanged
from diffatlas.ui.components.bench_view import BenchView
from diffatlas.ui.components.study_view import StudyView

BASE = GenerationParams(prompt="a red circle", seed=3)
KEY = "a-0-0"
WAITS = CellWaits(KEY, "Replicate asks to wait.", 12.0)


def shown_study():
    study = plan_sweep(BASE, "seed", [1, 2])
    view = StudyView("somebody")
    view.add(StudyChanged(study))
    return view, study, lambda: view.value()["cells"][KEY]["wait"]


def shown_bench():
    bench: Bench = plan_bench(shapes_pack(each=1), BASE, seeds=1)
    view = BenchView(bench)
    return view, bench.study, lambda: view.value()["changed"][KEY]["wait"]


@pytest.mark.parametrize("shown", [shown_study, shown_bench])
def test_a_wait_is_shown_until_the_cell_goes_on(shown):
    view, study, wait = shown()
    view.add(CellBegan(KEY))
    assert wait() is None
    view.add(WAITS)
    first = wait()
    assert (first["message"], first["seconds"]) == ("Replicate asks to wait.", 12.0)
    # The same wait, sent again with other cells, is the same to the page.
    assert wait() == first
    view.add(CellBegan(KEY, "20260101-000000-abcdef12"))
    assert wait() is None
    view.add(CellWaits(KEY, "In the queue."))
    assert wait()["seconds"] is None
    view.add(CellEnded(KEY, replace(study.cell(KEY), status="stopped")))
    assert wait() is None
