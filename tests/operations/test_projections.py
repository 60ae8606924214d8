"""Several stored runs in one picture, against scikit-learn on their states."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.decomposition import PCA

from diffatlas.errors import CapabilityError, InvalidParams, RunNotFound
from diffatlas.events import Finished, Started, Step
from diffatlas.library import Library
from diffatlas.operations.projections import LEAST_STATES, Projections
from diffatlas.params import GenerationParams


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "runs")


def store(library, run_id, path):
    """Write a run whose states are ``path`` (T + 1, 1, ...)."""
    params = GenerationParams(prompt="a red circle", width=64, height=64, scheduler="ddim")
    events = [Started(run_id, params, path[0], 1.0, len(path) - 1)]
    events += [Step(k, 10.0 - k, 1.0 / (k + 1), x) for k, x in enumerate(path[1:])]
    list(library.record([*events, Finished("complete", 1.0)]))
    return run_id


def random_path(seed, steps=9, shape=(4, 6, 6)):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(steps + 1, 1, *shape)), axis=0).astype(np.float32)


def test_common_basis_is_that_of_all_states_together(library):
    paths = {f"run-{k}": random_path(k, steps=6 + k) for k in range(3)}
    for name, path in paths.items():
        store(library, name, path)
    projections = Projections()
    found = projections.pca(library, list(paths))
    rows = np.concatenate([path.reshape(len(path), -1) for path in paths.values()]).astype(float)
    reference = PCA(3).fit(rows)
    scores = reference.transform(rows)
    signs = np.sign((np.concatenate(found.coords) * scores).sum(0))
    np.testing.assert_allclose(np.concatenate(found.coords), scores * signs, atol=1e-5 * np.abs(scores).max())
    np.testing.assert_allclose(found.explained_variance_ratio, reference.explained_variance_ratio_, atol=1e-5)

    # Another choice of runs is another basis, from what is kept of the first.
    fewer = projections.pca(library, ["run-0", "run-2"], fit="run-2")
    alone = PCA(3).fit(paths["run-2"].reshape(9, -1).astype(float))
    other = alone.transform(paths["run-0"].reshape(7, -1).astype(float))
    np.testing.assert_allclose(np.abs(fewer.coords[0]), np.abs(other), atol=1e-5 * np.abs(other).max())


def test_runs_of_different_shapes_are_told_of(library):
    store(library, "small", random_path(0))
    store(library, "wide", random_path(1, shape=(4, 6, 8)))
    projections = Projections()
    for view in (projections.pca, projections.umap):
        with pytest.raises(CapabilityError, match="4 × 6 × 6 and 4 × 6 × 8"):
            view(library, ["small", "wide"])
    assert projections.pca(library, ["wide"]).coords[0].shape == (10, 3)


def test_what_cannot_be_projected_is_refused(library):
    store(library, "run", random_path(0, steps=LEAST_STATES - 2))
    projections = Projections()
    with pytest.raises(InvalidParams, match="not among"):
        projections.pca(library, ["run"], fit="another")
    with pytest.raises(RunNotFound):
        projections.pca(library, ["nothing"])
    with pytest.raises(InvalidParams, match="at least"):
        projections.umap(library, ["run"])


@pytest.mark.slow
def test_umap_is_computed_in_the_background_and_is_that_of_its_seed(library):
    from diffatlas.geometry.common_basis import distances, gram
    from diffatlas.geometry.embedding import umap

    paths = [random_path(k, steps=11) for k in range(2)]
    ids = [store(library, f"run-{k}", path) for k, path in enumerate(paths)]
    projections = Projections()
    try:
        projections.prepare()
        assert projections.umap(library, ids) is None, "nobody waits for the compiler"
        assert projections.preparing
        deadline = time.monotonic() + 300
        while (found := projections.umap(library, ids)) is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not projections.preparing
    finally:
        projections.close()
    states = [path[:, 0] for path in paths]
    direct = umap(distances([[gram(a, b) for b in states] for a in states]))
    np.testing.assert_array_equal(np.concatenate(found), direct)
    assert [len(part) for part in found] == [12, 12]


def test_embeddings_go_round_those_who_ask_and_one_that_nobody_asks_for_is_dropped(monkeypatch):
    from concurrent.futures import Future

    from diffatlas.operations import projections as room

    begun, jobs = [], []

    def submit(matrix, dimensions):
        begun.append(int(matrix[0, 1]))
        jobs.append(Future())
        return jobs[-1]

    projections = room.Projections()
    monkeypatch.setattr(projections._process, "submit", submit)
    monkeypatch.setattr(projections, "prepare", lambda: None)
    ask = lambda number, who: projections.map_of(np.full((6, 6), float(number)), who)  # noqa: E731
    for number, who in ((1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")):
        assert ask(number, who) is None
    assert begun == [1]  # and of a's, the third has taken the place of the second
    jobs[-1].set_result(np.zeros((6, 2)))
    assert ask(4, "b") is None
    jobs[-1].set_result(np.ones((6, 2)))
    assert ask(4, "b").sum() == 12
    ask(3, "a")
    monkeypatch.setattr(room, "ABANDONED", 0.0)
    jobs[-1].set_result(np.ones((6, 2)))
    ask(6, "d")
    assert begun == [1, 4, 5]
    monkeypatch.setattr(room, "ABANDONED", 10.0)
    ask(7, "e")
    assert begun == [1, 4, 5, 7]


def test_what_was_let_go_of_is_read_again(library):
    projections = Projections()
    ids = [store(library, f"run-{k}", random_path(k)) for k in range(2)]
    before = projections.pca(library, ids)
    projections.empty()
    assert not projections._states
    assert not projections._products
    for a, b in zip(before.coords, projections.pca(library, ids).coords, strict=True):
        np.testing.assert_array_equal(a, b)
