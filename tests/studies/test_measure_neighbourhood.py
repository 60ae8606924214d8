"""What a neighbourhood's numbers are, against SciPy and scikit-learn on runs whose states are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from diffatlas.errors import InvalidParams
from diffatlas.geometry.noise import perturb
from diffatlas.geometry.perceptual import phash
from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.operations.features import Encoder
from diffatlas.studies.measure_neighbourhood import (
    NeighbourhoodMeasures,
    measure_neighbourhood,
    relative_distances,
)
from tests.studies.made_studies import Making, picture

SHAPE = (4, 6, 6)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def neighbourhood(
    library: Library,
    k: int = 9,
    lanes: str = "a",
    image_of: Callable[[int], np.ndarray] | None = None,
    **spec: Any,
) -> tuple[Study, np.ndarray, list[np.ndarray]]:
    """An anchor and k neighbours at growing radii; their paths (k + 1, 4, ...) and pictures, alike in all lanes."""
    rng = np.random.default_rng(7)
    making = Making(library, "neighbourhood", lanes, **{"mode": "perturb", "step": 0} | spec)
    anchor = rng.normal(size=SHAPE)
    starts = [anchor, *(perturb(anchor, rng.normal(size=SHAPE), 0.5 * i / k) for i in range(1, k + 1))]
    paths = np.stack([[x, *rng.normal(size=(3, *SHAPE))] for x in starts]).astype(np.float32)
    images = [image_of(i) if image_of else picture(rng) for i in range(k + 1)]
    for lane in lanes:
        for i, (path, image) in enumerate(zip(paths, images, strict=True)):
            making.add(lane, 0, i, 0.5 * i / k, path, image)
    return making.study(), paths, images


def in_two_groups(i: int) -> np.ndarray:
    """Dark pictures and bright ones, by turns of four, each with a little noise."""
    rng = np.random.default_rng(i)
    return (rng.integers(0, 12, (16, 16, 3)) + (40 if i % 4 < 2 else 200)).astype(np.uint8)


def test_the_matrices_are_scipys(library: Library) -> None:
    study, paths, images = neighbourhood(library)
    found = measure_neighbourhood(study, library)
    lane = found.lanes["a"]
    assert lane.cells == [f"a-0-{i}" for i in range(10)]
    flat = np.stack(images).reshape(10, -1).astype(float) / 255
    wanted = {"image": squareform(pdist(flat)) / np.sqrt(flat.shape[1])}
    for key, states in (("start", paths[:, 0]), ("latent", paths[:, -1])):
        rows = states.reshape(10, -1).astype(float)
        wanted[key] = squareform(pdist(rows)) / np.linalg.norm(rows, axis=1).mean()
    bits = np.stack([phash(image) for image in images])
    wanted["hash"] = squareform(pdist(bits, "hamming"))
    assert lane.matrices.keys() == wanted.keys()
    for key, matrix in wanted.items():
        np.testing.assert_allclose(lane.matrices[key], matrix, rtol=1e-9, atol=1e-12, err_msg=key)
    assert [d.key for d in found.distances] == ["start", "latent", "image", "hash"]


def test_start_distances_read_as_radii() -> None:
    rng = np.random.default_rng(0)
    x, eps, other = rng.normal(size=(3, 20_000))
    found = relative_distances([x, perturb(x, eps, 0.1), other])
    assert found[0, 1] == pytest.approx(0.1, rel=0.02)
    assert found[0, 2] == pytest.approx(np.sqrt(2), rel=0.02)


def test_states_that_are_missing_or_differ_in_shape_have_no_distances() -> None:
    x = np.ones((2, 3))
    assert relative_distances([]) is None
    assert relative_distances([x, None]) is None
    assert relative_distances([x, np.ones((3, 2))]) is None
    assert relative_distances([0 * x, 0 * x]) is None
    assert relative_distances([x, 3 * x]).tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_a_later_perturbation_starts_from_the_state_after_that_step(library: Library) -> None:
    study, paths, _ = neighbourhood(library, step=2)
    lane = measure_neighbourhood(study, library).lanes["a"]
    rows = paths[:, 2].reshape(10, -1).astype(float)
    wanted = squareform(pdist(rows)) / np.linalg.norm(rows, axis=1).mean()
    np.testing.assert_allclose(lane.matrices["start"], wanted, rtol=1e-9, atol=1e-12)


def test_a_scheduler_of_two_parts_is_perturbed_two_states_later(library: Library) -> None:
    """With Heun, two states are recorded for each step, so step 2 is done at state 4."""
    rng = np.random.default_rng(0)
    making = Making(library, "neighbourhood", mode="perturb", step=2)
    shared = rng.normal(size=(4, *SHAPE))
    perturbed = rng.normal(size=(5, 3, *SHAPE))
    for i, rest in enumerate(perturbed):
        making.add("a", 0, i, i, np.concatenate([shared, rest]).astype(np.float32), picture(rng))
    lane = measure_neighbourhood(making.study(), library).lanes["a"]
    rows = perturbed[:, 0].reshape(5, -1)
    wanted = squareform(pdist(rows)) / np.linalg.norm(rows, axis=1).mean()
    np.testing.assert_allclose(lane.matrices["start"], wanted, rtol=1e-5)


def test_maps_are_principal_components_of_the_matrix(library: Library) -> None:
    from sklearn.decomposition import PCA

    study, paths, images = neighbourhood(library)
    lane = measure_neighbourhood(study, library).lanes["a"]
    latents = paths[:, -1].reshape(10, -1).astype(float)
    latents /= np.linalg.norm(latents, axis=1).mean()
    pixels = np.stack(images).reshape(10, -1) / 255
    pixels /= np.sqrt(pixels.shape[1])
    for key, rows in (("latent", latents), ("image", pixels)):
        model = PCA(10, svd_solver="full").fit(rows)
        drawn = lane.maps[key]["pca"]
        np.testing.assert_allclose(
            np.abs(drawn["coords"]), np.abs(model.transform(rows)[:, :2]), rtol=1e-6, atol=1e-9
        )
        np.testing.assert_allclose(drawn["axes"], model.explained_variance_ratio_[:2], rtol=1e-6)
        mds = lane.maps[key]["mds"]
        gaps, wanted = pdist(mds["coords"]), lane.matrices[key][np.triu_indices(10, 1)]
        assert mds["stress"] == pytest.approx(np.sqrt(((gaps - wanted) ** 2).sum() / (gaps**2).sum()))


def test_a_linear_growth_is_found(library: Library) -> None:
    """Pictures whose grey follows the radius: the image distance between two is their difference of radii."""
    study, *_ = neighbourhood(library, image_of=lambda i: np.full((16, 16, 3), 20 + 20 * i, np.uint8))
    grown = measure_neighbourhood(study, library).lanes["a"].growth
    assert (grown.near, grown.far) == ("start", "image")
    assert len(grown.pairs) == 45
    of = {(p["a"], p["b"]): p for p in grown.pairs}
    assert of["a-0-2", "a-0-7"]["y"] == pytest.approx(100 / 255)
    assert grown.low <= grown.slope <= grown.high
    assert grown.slope > 0
    assert f"{grown.slope:.3g}" in grown.sentence
    assert all(x2 > x1 for (x1, _), (x2, _) in zip(grown.curve, grown.curve[1:], strict=False))


def jumping(library: Library, names: Any = None, **spec: Any) -> Any:
    """Neighbours near the anchor are as dark as it is, and cell 1, the nearest of all, is white."""
    study, *_ = neighbourhood(
        library,
        image_of=lambda i: np.full((16, 16, 3), 200 if i == 1 else 40 + i, np.uint8),
        **spec,
    )
    return measure_neighbourhood(study, library, names=names).lanes["a"]


def test_close_starts_with_far_images_are_jumps(library: Library) -> None:
    found = jumping(library).jumps
    assert found
    assert all("a-0-1" in (jump.a, jump.b) for jump in found)
    assert (found[0].a, found[0].b) == ("a-0-0", "a-0-1")
    assert found[0].far == pytest.approx(160 / 255)
    assert found[0].named is None


def test_names_make_a_jump_a_fact(library: Library) -> None:
    lane = jumping(library, lambda image: "white" if image.mean() > 100 else "black")
    assert lane.names == ["white" if i == 1 else "black" for i in range(10)]
    assert lane.jumps
    assert all(jump.named for jump in lane.jumps)


def test_two_names_of_nearly_the_same_picture_are_no_jump(library: Library) -> None:
    """A detector that is undecided: every other picture has another name, and none looks any different."""
    lane = jumping(
        library, {"a": lambda image: "white" if image.mean() > 100 else f"grey {image.mean() % 2}"}
    )
    assert len({name for name in lane.names if name}) == 3
    assert all("a-0-1" in (jump.a, jump.b) for jump in lane.jumps)


def test_other_seeds_have_no_geometry(library: Library) -> None:
    study, *_ = neighbourhood(library, mode="offset", image_of=in_two_groups)
    found = measure_neighbourhood(study, library)
    lane = found.lanes["a"]
    assert "seed" in found.note
    assert lane.jumps == []
    assert (lane.growth.slope, lane.growth.low, lane.growth.high) == (None, None, None)
    assert "independent" in lane.growth.sentence
    assert measure_neighbourhood(neighbourhood(library)[0], library).note is None


def test_basins_hold_the_cells_that_belong_together(library: Library) -> None:
    study, *_ = neighbourhood(library, 11, image_of=in_two_groups)
    dark = [f"a-0-{i}" for i in range(12) if i % 4 < 2]
    found = measure_neighbourhood(study, library, names=lambda p: "bright" if p.mean() > 100 else "dark")
    basins = found.lanes["a"].basins
    assert basins.count == 2
    assert basins.members[0] == dark
    assert basins.labels == [0 if i % 4 < 2 else 1 for i in range(12)]
    assert basins.names == [["dark"], ["bright"]]
    assert basins.on == "image"
    assert basins.silhouette > 0.9
    assert "2 basins" in basins.sentence


def test_basins_are_of_features_where_there_are_any(library: Library) -> None:
    """The encoder sees the corner only, where the groups are others."""

    def picture_of(i: int) -> np.ndarray:
        image, rng = in_two_groups(i), np.random.default_rng(100 + i)
        one, other = [200, 20, 20], [20, 20, 200]
        image[0, :2] = np.array([one, other] if i % 3 else [other, one]) + rng.integers(0, 20, (2, 3))
        return image

    encoder = Encoder(
        "corner", "The corner.", lambda images: np.stack([i[0, :2].ravel() / 255 for i in images])
    )
    study, _, images = neighbourhood(library, 11, image_of=picture_of)
    found = measure_neighbourhood(study, library, encoder)
    lane = found.lanes["a"]
    corners = np.stack([i[0, :2].ravel() for i in images]).astype(float)
    np.testing.assert_allclose(lane.matrices["feature"], squareform(pdist(corners, "cosine")), atol=1e-12)
    assert found.feature == "corner"
    assert lane.basins.on == "feature"
    assert lane.basins.labels == [int(i % 3 != 0) for i in range(12)]


def agreement(library: Library, second: Callable[[int], np.ndarray]) -> tuple[Any, NeighbourhoodMeasures]:
    """Lane a shows pictures in two groups, lane b those of ``second``."""
    rng = np.random.default_rng(3)
    making = Making(library, "neighbourhood", "ab", mode="perturb", step=0)
    for lane, image_of in (("a", in_two_groups), ("b", second)):
        for i in range(12):
            making.add(lane, 0, i, i / 12, rng.normal(size=(2, *SHAPE)), image_of(i))
    found = measure_neighbourhood(making.study(), library)
    return found.agreement[0], found


def test_the_same_layout_in_two_lanes_is_structural(library: Library) -> None:
    same, _ = agreement(library, in_two_groups)
    assert (same.a, same.b, same.n) == ("a", "b", 12)
    assert same.procrustes == pytest.approx(0, abs=1e-9)
    assert (same.rand, same.rank) == (1.0, pytest.approx(1.0))
    assert same.p < 0.01
    assert "structural" in same.sentence


def test_another_layout_is_contingent(library: Library) -> None:
    other, found = agreement(library, lambda i: in_two_groups(2 * i))
    upper = np.triu_indices(12, 1)
    images = [found.lanes[lane].matrices["image"][upper] for lane in "ab"]
    assert other.rank == pytest.approx(spearmanr(*images).statistic)
    assert other.rank < 0.4
    assert other.p > 0.05
    assert other.rand < 0.2
    assert other.procrustes > 0.5
    assert "structural" not in other.sentence


def test_lanes_are_compared_over_the_cells_that_both_have(library: Library) -> None:
    rng = np.random.default_rng(3)
    making = Making(library, "neighbourhood", "ab", mode="perturb", step=0)
    for lane, lost in (("a", 2), ("b", 5)):
        for i in range(12):
            status = "failed" if i == lost else "complete"
            making.add(lane, 0, i, i / 12, rng.normal(size=(2, *SHAPE)), in_two_groups(i), status=status)
    (found,) = measure_neighbourhood(making.study(), library).agreement
    assert (found.n, found.rand, found.rank) == (10, 1.0, pytest.approx(1.0))


def test_copies_and_few_cells_are_measured(library: Library) -> None:
    """A radius of 0 gives copies; and a study may have been stopped after one cell, or before it."""
    same = np.full((16, 16, 3), 90, np.uint8)
    path = np.random.default_rng(0).normal(size=(2, *SHAPE))
    for count in (0, 1, 2, 6):
        making = Making(library, "neighbourhood", "ab", mode="perturb", step=0)
        for lane in "ab":
            for i in range(count):
                making.add(lane, 0, i, 0.0, path, same)
        found = measure_neighbourhood(making.study(), library)
        data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        lane = data["lanes"]["a"]
        assert len(lane["cells"]) == count
        assert lane["jumps"] == []
        if count:
            assert lane["basins"]["count"] == 1
            assert lane["maps"]["image"]["mds"]["coords"] == [[0.0, 0.0]] * count
            assert np.max(lane["matrices"]["latent"]) == 0.0
        assert data["agreement"][0]["rank"] is None
        assert "cannot be told" in data["agreement"][0]["sentence"]


def test_pictures_alone_have_no_distances_of_latents(library: Library) -> None:
    making = Making(library, "neighbourhood", "a", mode="offset", step=0)
    for i in range(6):
        making.add("a", 0, i, i, None, in_two_groups(i))
    lane = measure_neighbourhood(making.study(), library).lanes["a"]
    assert lane.matrices.keys() == {"image", "hash"}
    assert lane.maps.keys() == {"image"}
    assert (lane.growth, lane.growth_latent) == (None, None)
    assert lane.basins.count >= 1


def test_the_form_that_the_pages_read(library: Library) -> None:
    study, *_ = neighbourhood(library, 6, "ab", image_of=in_two_groups)
    found = measure_neighbourhood(study, library, names={"a": lambda image: "a shape"})
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data.keys() == {
        "mode", "note", "distances", "feature", "captions", "lanes", "agreement", "definitions",
    }  # fmt: skip
    lane = data["lanes"]["a"]
    assert {"cells", "matrices", "names", "growth", "jumps", "basins", "maps"} <= lane.keys()
    assert lane["growth"].keys() == {"near", "far", "pairs", "curve", "slope", "low", "high", "sentence"}
    assert lane["basins"].keys() == {"count", "labels", "silhouette", "on", "members", "names", "sentence"}
    assert lane["maps"]["latent"].keys() == {"pca", "mds"}
    assert np.shape(lane["maps"]["latent"]["pca"]["coords"]) == (7, 2)
    assert np.shape(lane["matrices"]["start"]) == (7, 7)
    assert lane["names"] == ["a shape"] * 7
    assert data["lanes"]["b"]["names"] is None
    assert data["agreement"][0].keys() == {"a", "b", "procrustes", "rand", "rank", "p", "n", "sentence"}


def test_a_sweep_is_no_neighbourhood(library: Library) -> None:
    with pytest.raises(InvalidParams, match="sweep"):
        measure_neighbourhood(Making(library, "sweep").study(), library)


def test_a_real_neighbourhood(shapes_backend: Any, shapes_asked: Any, library: Library) -> None:
    from diffatlas.operations.features import names_for, vae_encoder
    from diffatlas.operations.trace import trace
    from diffatlas.studies.plan_neighbourhood import plan_neighbourhood

    study = plan_neighbourhood(shapes_asked, "perturb", k=5, radius=0.5)
    for cell in study.cells:
        run = trace(cell.params, None, shapes_backend, library)
        study = study.with_cell(cell.key, status="complete", run_id=run.id)
    encoder = vae_encoder(shapes_backend.pipeline("shapes"))
    lane = measure_neighbourhood(study, library, encoder, names_for(study)).lanes["a"]
    # Neighbour i is at a distance of about its radius, i / 10; 1024 numbers leave a few percent.
    radii = np.arange(6) / 10
    chords = np.sqrt(2 - 2 * np.sqrt(1 - radii**2))
    np.testing.assert_allclose(lane.matrices["start"][0], chords, rtol=0.1)
    assert all(" on " in name for name in lane.names)
    assert lane.basins.on == "feature"
    assert len(lane.cells) == 6
