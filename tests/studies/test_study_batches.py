"""Running a study in batches: which cells share one, what fails alone in it, and the real model in one."""

from dataclasses import replace

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.events import Failed
from diffatlas.library import Library
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import (
    CellBegan,
    CellEnded,
    LaneChanged,
)
from diffatlas.studies.run_lane import BATCH_PIXELS, batch_size, split
from tests.studies.fake_backends import (
    BatchingBackend,
    FakeBackend,
    Limited,
    picture,
)
from tests.studies.playing import BASE, BROKEN, of, play, seeds, statuses


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


def test_cells_that_can_share_a_batch_do(library):
    backend = BatchingBackend()
    events, study = play(seeds("1 2 3 4 5"), backend, library)
    assert backend.batches == [5]
    assert [cell.batched for cell in study.cells] == [True] * 5
    for cell in study.cells:
        assert library.open(cell.run_id).params == cell.params
        ended = of(events, CellEnded, cell.key)
        assert np.array_equal(ended[0].image, picture(cell.params))


def test_the_exact_mode_runs_one_by_one(library):
    backend = BatchingBackend()
    _, study = play(seeds(exact=True), backend, library)
    assert (backend.batches, len(backend.asked)) == ([], 3)
    assert not any(cell.batched for cell in study.cells)


def test_cells_of_different_lengths_do_not_share(library):
    backend = BatchingBackend()
    play(plan_sweep(BASE, "num_inference_steps", "2 3 4", seeds=2), backend, library)
    assert backend.batches == [2, 2, 2]


def test_methods_that_call_the_denoiser_again_have_batches_of_their_own(library):
    backend = BatchingBackend()
    backend.capabilities = replace(FakeBackend.capabilities, guidance_methods=True)
    play(plan_sweep(BASE, "guidance_method", "plain, pag, apg, slg, rescale", seeds=2), backend, library)
    assert sorted(backend.batches) == [2, 2, 6]


def test_a_cell_alone_is_served_by_a_run_that_came_out_of_a_batch(library, shapes_backend):
    base = BASE.replace(num_inference_steps=1)
    _, study = play(plan_sweep(base, "guidance_scale", "2, 3"), shapes_backend, library)
    _, again = play(plan_sweep(base, "guidance_scale", "3"), shapes_backend, library)
    assert (again.cells[0].cached, again.cells[0].batched) == (True, True)
    assert again.cells[0].run_id == study.cells[1].run_id
    _, exact = play(plan_sweep(base, "guidance_scale", "3", exact=True), shapes_backend, library)
    assert (exact.cells[0].cached, exact.cells[0].batched) == (False, False)


def test_many_cells_are_shared_out_evenly(library):
    backend = BatchingBackend()
    play(seeds([*range(9)]), backend, library)
    assert sorted(backend.batches) == [4, 5]
    assert [len(part) for part in split([*range(17)], 8)] == [6, 5, 6]
    assert [len(part) for part in split([*range(8)], 8)] == [8]


def test_large_images_share_with_fewer():
    def size(side):
        return batch_size(FakeBackend(), BASE.replace(width=side, height=side))

    # Without `resolve`, nothing is known.
    assert size(64) == 8

    class Resolving(FakeBackend):
        def resolve(self, params):
            return params

    assert batch_size(Resolving(), BASE.replace(width=512, height=512)) == 8
    assert batch_size(Resolving(), BASE.replace(width=1024, height=1024)) == BATCH_PIXELS // 1024**2 == 2
    assert batch_size(Resolving(), BASE.replace(width=4096, height=4096)) == 1


def test_a_cell_that_fails_in_a_batch_fails_alone(library):
    nan = Failed("non_finite", "NaN.")
    _, study = play(seeds(), BatchingBackend(lambda p, n: nan if p.seed == 2 else None), library)
    assert statuses(study) == ["complete", "failed", "complete"]


def test_a_batch_that_does_not_fit_is_halved(library):
    backend = BatchingBackend(fits=2)
    events, study = play(seeds("1 2 3 4 5 6"), backend, library)
    assert backend.batches == [6, 3]
    assert statuses(study) == ["complete"] * 6
    # None is told of as failed on the way, and none leaves a failed run.
    assert [e.cell.status for e in of(events, CellEnded)] == ["complete"] * 6
    assert {info.status for info in library.list()} == {"complete"}
    assert len(library.list()) == 6
    assert "did not fit into memory" in of(events, LaneChanged)[-1].message


@pytest.mark.parametrize("begun", [True, False])
def test_what_ends_a_whole_batch_is_tried_one_by_one(library, begun):
    """One cell that the pipeline cannot take must not cost the others."""
    unable = Failed("capability", "This model cannot do that.", "guidance_method")

    class Refusing(BatchingBackend):
        def trace_batch(self, cells, capture=None, stop=None):
            if begun:
                for index, params in enumerate(cells):
                    yield index, next(self._one(params, stop))
            for index in range(len(cells)):
                yield index, unable

    backend = Refusing(lambda p, n: unable if p.guidance_method == "tangential" else None)
    study = plan_sweep(BASE, "guidance_method", "plain, tangential, apg")
    able = replace(FakeBackend.capabilities, guidance_methods=True)
    backend.capabilities = able
    events, study = play(study, backend, library)
    assert statuses(study) == ["complete", "failed", "complete"]
    assert study.cells[1].error["code"] == "capability"
    assert [e.cell.key for e in of(events, CellEnded)] == ["a-0-0", "a-0-1", "a-0-2"]
    assert len(library.list()) == 3


def test_a_cell_that_is_known_to_be_wrong_stays_out_of_the_batch(library):
    class Resolving(BatchingBackend):
        def resolve(self, params):
            if params.seed == 2:
                raise InvalidParams("Not this one.", field="seed")
            return params

    backend = Resolving(lambda p, n: BROKEN if p.seed == 2 else None)
    _, study = play(seeds(), backend, library)
    assert backend.batches == [2]
    assert statuses(study) == ["complete", "failed", "complete"]


def test_the_cells_of_a_pipeline_without_batches_run_one_by_one(library):
    class Single(BatchingBackend):
        def trace_batch(self, cells, capture=None, stop=None):
            self.batches.append(len(cells))
            for index in range(len(cells)):
                yield index, Failed("invalid_params", "One by one, please.", "batch")

    backend = Single()
    _, study = play(seeds([*range(12)]), backend, library)
    assert backend.batches == [6, 6]
    assert set(statuses(study)) == {"complete"}
    assert not any(cell.batched for cell in study.cells)


def test_a_stored_run_that_cannot_be_read_is_not_deleted(library, monkeypatch):
    from diffatlas.studies import run_lane as study_lane

    _, study = play(seeds("1"), FakeBackend(), library)
    kept = study.cells[0].run_id

    def damaged(*args):
        started, *_ = library_events(library, kept)
        yield replace(started, cached_from=kept)
        yield Limited("damaged_run", "It cannot be read.", retry_after=0.01)

    monkeypatch.setattr(study_lane.tracing, "stream", damaged)
    _, study = play(study, FakeBackend(), library, only=["a-0-0"])
    assert statuses(study) == ["failed"]
    assert [info.id for info in library.list()] == [kept]


def library_events(library, run_id):
    from diffatlas.capture.spec import Capture
    from diffatlas.operations.cache import replayed

    return [*replayed(library.open(run_id), Capture())]


def test_one_cell_that_does_not_fit_fails(library):
    full = Failed("out_of_memory", "Full.")
    _, study = play(seeds(), BatchingBackend(lambda p, n: full, fits=1), library)
    assert [cell.error["code"] for cell in study.cells] == ["out_of_memory"] * 3


# The embedded model


@pytest.fixture(scope="module")
def swept(shapes_backend, tmp_path_factory):
    """One small sweep, batched and one by one, in libraries of their own."""
    found = {}
    for exact in (False, True):
        library = Library(tmp_path_factory.mktemp("swept"))
        base = BASE.replace(num_inference_steps=4)
        study = plan_sweep(base, "guidance_scale", "1, 4, 12", exact=exact)
        found[exact] = (library, *play(study, shapes_backend, library))
    return found


def test_the_real_model_sweeps_in_one_batch(swept):
    library, events, study = swept[False]
    assert (study.status, statuses(study)) == ("complete", ["complete"] * 3)
    assert [cell.batched for cell in study.cells] == [True] * 3
    assert [e.total for e in of(events, CellBegan)] == [4] * 3
    assert len({e.image.tobytes() for e in of(events, CellEnded)}) == 3
    assert [library.open(c.run_id).params.guidance_scale for c in study.cells] == [1, 4, 12]


def test_one_by_one_is_bit_equal_to_a_single_run(swept, shapes_backend):
    from diffatlas.operations.trace import trace

    library, _, study = swept[True]
    cell = study.cells[1]
    alone = trace(cell.params, backend=shapes_backend)
    assert np.array_equal(library.load(cell.run_id).latents, alone.latents)
    assert not cell.batched


def test_a_batch_gives_the_same_paths_within_rounding(swept):
    (batched, _, one), (exact, _, other) = swept[False], swept[True]
    for a, b in zip(one.cells, other.cells, strict=True):
        x, y = batched.load(a.run_id).latents, exact.load(b.run_id).latents
        np.testing.assert_allclose(x, y, atol=2e-4 * np.abs(y).max())


def test_a_second_sweep_comes_from_the_library(swept, shapes_backend):
    library, _, study = swept[True]
    again = plan_sweep(BASE.replace(num_inference_steps=4), "guidance_scale", "4, 12", exact=True)
    _, again = play(again, shapes_backend, library)
    assert [cell.cached for cell in again.cells] == [True, True]
    assert [cell.run_id for cell in again.cells] == [cell.run_id for cell in study.cells[1:]]


def test_lanes_compute_with_as_many_threads_as_their_caller(shapes_backend, tmp_path):
    """A limit of OpenMP holds for the thread that set it; a cell must give what a single run on that thread gives."""
    from threadpoolctl import threadpool_limits

    library = Library(tmp_path)
    for number in (1, 2):
        with threadpool_limits(number, user_api="openmp"):
            study = plan_sweep(
                BASE.replace(num_inference_steps=2, seed=number), "guidance_scale", "4", exact=True
            )
            _, study = play(study, shapes_backend, library)
        assert library.open(study.cells[0].run_id).provenance["threads"] == number
