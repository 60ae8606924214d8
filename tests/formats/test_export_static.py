"""The static run folder that is written, against the contract's definitions spelled out here."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import entropy as scipy_entropy
from sklearn.decomposition import PCA

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.write import Options, check_target, plan, write
from tests.attended_runs import CROSS, run_of

OWN = {"up_blocks.0.attn1": ((16, 16), (8, 8), "up"), "mid_block.attn1": ((4, 4), (4, 4), "mid")}


@pytest.fixture(scope="module")
def run():
    return run_of(3, steps=4, own=OWN)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return write(plan(run), tmp_path_factory.mktemp("static") / "run")


def data(folder: Path, name: str):
    return json.loads((folder / name).read_text())


def entry(folder: Path, name: str, kind: str, step: int) -> dict:
    """An entry of the attention files, by the name of its layer."""
    metadata = data(folder, "metadata.json")
    (layer,) = (
        x["id"]
        for x in metadata["layers"]
        if x["processor_key"] == f"{name}.processor" and x["attention_type"] == kind
    )
    (found,) = (e for e in metadata["attention_files"] if e["layer_id"] == layer and e["step"] == step)
    return found


def maps(folder: Path, found: dict) -> np.ndarray:
    dtype = {"float16": "<f2", "float32": "<f4"}[found["dtype"]]
    return (
        np.frombuffer((folder / found["path"]).read_bytes(), dtype).reshape(found["shape"]).astype(np.float64)
    )


def test_every_file_is_as_large_as_planned(run, folder):
    planned = {file.path: file.size for file in plan(run).files}
    there = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    assert there == planned
    assert plan(run).bytes == sum(there.values())


def test_the_folder_is_valid_even_when_strict(folder):
    report = check_folder(folder)
    assert report.problems == []
    assert report.checked == 4 * (len(CROSS) + len(OWN))
    assert data(folder, "validation.json")["attention_assets"]["checked_files"] == report.checked


def test_metadata_is_of_the_contract(run, folder):
    metadata = data(folder, "metadata.json")
    assert metadata["schema_version"] == "1.0.0"
    assert metadata["generator"]["model_id"] == "shapes"
    assert metadata["generator"]["cfg_scale"] == 5.0
    assert metadata["steps"] == 4
    assert metadata["timesteps"] == [900, 899, 898, 897]
    assert metadata["images"] == [f"images/step_{k:03d}.png" for k in range(4)]
    assert metadata["prompt"]["tokens"][:3] == ["<|startoftext|>", "a</w>", "red</w>"]
    assert metadata["prompt"]["token_ids"][:3] == [998, 300, 301]
    assert len(metadata["prompt"]["tokens"]) == 77
    assert metadata["prompt"]["meaningful_token_count"] == 7
    kinds = [e["attention_type"] for e in metadata["attention_files"][:4]]
    assert kinds == ["cross", "cross", "self", "self"]


def test_word_maps_are_resampled_and_nothing_else(run, folder):
    import torch
    from torch.nn.functional import interpolate

    stored = run.steps[2].attention["cross:down_blocks.0.attn2"].astype(np.float32)
    wanted = interpolate(torch.from_numpy(stored), size=(16, 16), mode="bilinear")[0].numpy()
    found = maps(folder, entry(folder, "down_blocks.0.attn2", "cross", 2))
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(found.sum(0), 1, atol=2e-3)


def test_places_are_cells_whose_rows_sum_to_bins_over_places(run, folder):
    stored = run.steps[1].attention["self:up_blocks.0.attn1"][0].astype(np.float64)
    found = maps(folder, entry(folder, "up_blocks.0.attn1", "self", 1))
    # 64 cells of a layer of 256 places: each cell holds 4 keys, and a value is the mean of one.
    np.testing.assert_allclose(found, stored.reshape(64, 64) / 4, atol=1e-5, rtol=1e-3)
    np.testing.assert_allclose(found.sum(1), 64 / 256, atol=1e-3)


def test_a_coarser_grid_of_places_is_their_mean_and_sum(run, tmp_path):
    coarse = write(plan(run, Options(self_resolution=4)), tmp_path / "coarse")
    stored = run.steps[0].attention["self:up_blocks.0.attn1"][0].astype(np.float64)
    blocks = stored.reshape(4, 2, 4, 2, 4, 2, 4, 2)
    wanted = blocks.mean((1, 3)).sum((3, 5)).reshape(16, 16)
    found = maps(coarse, entry(coarse, "up_blocks.0.attn1", "self", 0))
    np.testing.assert_allclose(found, wanted * 16 / 256, atol=1e-5, rtol=2e-3)


def test_numbers_are_of_the_contracts_definitions(run, folder):
    numbers = data(folder, "metrics.json")
    latents = np.stack([s.latents[0] for s in run.steps]).reshape(4, -1).astype(np.float64)
    np.testing.assert_allclose(numbers["latent_l2_norm"], np.sqrt((latents**2).sum(1)))
    noise = np.stack([s.noise_pred[0] for s in run.steps]).reshape(4, -1).astype(np.float64)
    np.testing.assert_allclose(numbers["predicted_noise_l2_norm"], np.sqrt((noise**2).sum(1)))
    half = latents.astype(np.float16).astype(np.float64)
    wanted = [
        a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-8)
        for a, b in zip(half[1:], half[:-1], strict=True)
    ]
    assert numbers["cosine_similarity_to_previous"][0] is None
    np.testing.assert_allclose(numbers["cosine_similarity_to_previous"][1:], wanted)

    means = []
    for at, step in enumerate(run.steps):
        by_layer = []
        for name in CROSS:
            p = step.attention[f"cross:{name}"][0].astype(np.float64)
            p = np.maximum(p, 1e-8).reshape(77, -1)
            by_layer.append((-(p * np.log(p)).sum(0)).mean())
        told = numbers["cross_attention_entropy"][at]
        assert told["step"] == at
        np.testing.assert_allclose(sorted(told["by_layer"].values()), sorted(by_layer))
        assert told["mean"] == pytest.approx(np.mean(by_layer))
        activation = np.mean(
            [step.attention[f"cross:{n}"][0].astype(np.float64).mean((1, 2)) for n in CROSS], 0
        )
        means.append(activation)
        np.testing.assert_allclose(numbers["mean_token_activation"][at], activation)
    assert numbers["attention_kl_divergence"][0] is None
    clipped = [np.maximum(m, 1e-8) for m in means]
    divergences = [scipy_entropy(a, b) for a, b in zip(clipped[1:], clipped[:-1], strict=True)]
    np.testing.assert_allclose(numbers["attention_kl_divergence"][1:], divergences, rtol=1e-6)
    scores = np.mean(means, 0)
    np.testing.assert_allclose(numbers["token_dominance"]["scores"], scores)
    ranking = numbers["token_dominance"]["ranking"]
    assert [r["token_index"] for r in ranking] == list(np.argsort(-scores, kind="stable")[:25])


def test_entropy_of_places_is_told_only_where_it_is_native(run, folder):
    numbers = data(folder, "metrics.json")
    ids = {
        x["processor_key"]: x["id"]
        for x in data(folder, "metadata.json")["layers"]
        if x["attention_type"] == "self"
    }
    told, pooled = (numbers[name][0] for name in ("self_attention_entropy", "self_attention_entropy_pooled"))
    assert set(told["by_layer"]) == {ids["mid_block.attn1.processor"]}
    assert set(pooled["by_layer"]) == set(ids.values())
    p = run.steps[0].attention["self:mid_block.attn1"][0].astype(np.float64).reshape(16, 16)
    p = np.maximum(p, 1e-8)
    assert told["mean"] == pytest.approx((-(p * np.log(p)).sum(1)).mean())


def test_the_path_is_that_of_scikit_learn(run, folder):
    told = data(folder, "latent_pca.json")
    latents = np.stack([s.latents[0] for s in run.steps]).reshape(4, -1).astype(np.float16).astype(np.float64)
    fitted = PCA(2).fit(latents)
    np.testing.assert_allclose(np.abs(told["points"]), np.abs(fitted.transform(latents)), rtol=1e-6)
    np.testing.assert_allclose(told["explained_variance_ratio"], fitted.explained_variance_ratio_, rtol=1e-6)


def test_latents_and_predictions_are_there_in_half_precision(run, folder):
    with np.load(folder / "latents_noise_fp16.npz", allow_pickle=False) as arrays:
        for name, field in (("latents", "latents"), ("predicted_noise", "noise_pred")):
            wanted = np.stack([getattr(s, field)[0] for s in run.steps]).astype(np.float16)
            assert arrays[name].dtype == np.float16
            np.testing.assert_array_equal(arrays[name], wanted)
        np.testing.assert_array_equal(arrays["initial_latents"], run.initial_latents[0].astype(np.float16))


def test_pictures_are_the_previews(run, folder):
    for at, step in enumerate(run.steps):
        with Image.open(folder / f"images/step_{at:03d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), step.preview[0])
    with Image.open(folder / "images/final.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), run.images[0])


def test_options_choose_layers_sizes_and_types(tmp_path):
    names = {f"down_blocks.{k}.attn2": ((8, 8), "down") for k in range(5)} | {
        "mid_block.attn2": ((4, 4), "mid")
    }
    run = run_of(cross=names, steps=2)
    spread = write(plan(run, Options(max_layers=3)), tmp_path / "a")
    kept = [x["processor_key"] for x in data(spread, "metadata.json")["layers"]]
    # Over the whole depth, and not the first three.
    assert kept == [
        f"{n}.processor" for n in ("down_blocks.0.attn2", "down_blocks.2.attn2", "mid_block.attn2")
    ]
    other = write(
        plan(
            run,
            Options(
                layers=("mid", "down_blocks.1*"),
                resolution=6,
                dtype="float32",
                allow_float32=True,
                npz=False,
            ),
        ),
        tmp_path / "b",
    )
    assert check_folder(other).problems == []
    assert {tuple(e["shape"]) for e in data(other, "metadata.json")["attention_files"]} == {(77, 6, 6)}
    assert not (other / "latents_noise_fp16.npz").exists()
    bare = write(plan(run, Options(attention=False)), tmp_path / "c")
    assert data(bare, "metadata.json")["attention_files"] == []
    assert check_folder(bare).problems == []
    for wrong in ({"layers": ("nothing",)}, {"image": 1}):
        with pytest.raises(InvalidParams):
            plan(run, Options(**wrong))
    # float32 is refused until it is asked for twice.
    for wrong in ({"dtype": "int8"}, {"dtype": "float32"}, {"resolution": 0}, {"max_layers": True}):
        with pytest.raises(InvalidParams):
            Options(**wrong)


def test_pictures_that_are_not_square_keep_their_maps(tmp_path):
    run = run_of(cross={"mid_block.attn2": ((6, 12), "mid")})
    folder = write(plan(run), tmp_path / "wide")
    found = entry(folder, "mid_block.attn2", "cross", 1)
    assert found["shape"] == [77, 6, 12]
    np.testing.assert_allclose(maps(folder, found), run.steps[1].attention["cross:mid_block.attn2"][0])


def test_steps_without_attention_are_gaps(tmp_path):
    folder = write(plan(run_of(steps=4, every=2)), tmp_path / "gaps")
    numbers = data(folder, "metrics.json")
    assert [e["mean"] is None for e in numbers["cross_attention_entropy"]] == [False, True, False, True]
    assert numbers["mean_token_activation"][1] is None
    assert numbers["attention_kl_divergence"] == [None] * 4
    assert check_folder(folder).problems == []


def test_a_run_without_attention_makes_a_valid_folder(tmp_path):
    folder = write(plan(run_of(cross={})), tmp_path / "plain")
    assert data(folder, "metadata.json")["layers"] == []
    assert check_folder(folder).problems == []


def test_pictures_that_are_missing_are_drawn_from_the_latents_or_asked_for():
    run = run_of(previews=False)
    with pytest.raises(CapabilityError, match="previews='every'"):
        plan(run)
    weight = np.zeros((4, 3))
    weight[0] = 0.5
    steps = tuple(replace(s, x0_pred=np.full((1, 4, 16, 16), 0.2, np.float32)) for s in run.steps)
    told = {**run.provenance, "latent_rgb": {"weight": weight.tolist(), "bias": [0.0, 0.0, 0.0]}}
    drawn = next(
        f for f in plan(replace(run, steps=steps, provenance=told)).files if f.path.endswith("000.png")
    )
    import io

    pixels = np.asarray(Image.open(io.BytesIO(drawn.make())))
    assert pixels.shape == (16, 16, 3)
    assert len(np.unique(pixels)) == 1


def test_what_is_lacking_is_said():
    run = run_of()
    with pytest.raises(CapabilityError, match="no step"):
        plan(replace(run, steps=()))
    bare = tuple(replace(step, latents=None) for step in run.steps)
    with pytest.raises(CapabilityError, match="without latents"):
        plan(replace(run, steps=bare))


@pytest.mark.parametrize(("name", "value"), [("latents", np.nan), ("latents", 1e6), ("noise_pred", np.inf)])
def test_numbers_that_float16_cannot_hold_are_refused_in_a_sentence(name, value):
    run = run_of()
    broken = replace(run.steps[1], **{name: np.full_like(run.steps[1].latents, value)})
    with pytest.raises(CapabilityError, match="from step 2 on"):
        plan(replace(run, steps=(run.steps[0], broken, run.steps[2])))


def test_maps_that_hold_nan_are_refused_in_a_sentence():
    run = run_of()
    maps = {key: np.full_like(array, np.nan) for key, array in run.steps[1].attention.items()}
    broken = replace(run, steps=(run.steps[0], replace(run.steps[1], attention=maps), run.steps[2]))
    with pytest.raises(CapabilityError, match=r"down_blocks.0.attn2 holds NaN at step 2: .* --no-attention"):
        plan(broken)
    assert plan(broken, Options(attention=False)).files


def test_only_another_static_folder_is_ever_overwritten(run, tmp_path):
    planned = plan(run)
    target = tmp_path / "run"
    write(planned, target)
    with pytest.raises(InvalidParams, match="--overwrite"):
        write(planned, target)
    (target / "stale.txt").write_text("of the folder before")
    write(planned, target, overwrite=True)
    assert not (target / "stale.txt").exists()
    holiday = tmp_path / "pictures"
    holiday.mkdir()
    (holiday / "one.txt").write_text("dear to somebody")
    with pytest.raises(InvalidParams, match="never overwritten"):
        write(planned, holiday, overwrite=True)
    assert (holiday / "one.txt").read_text() == "dear to somebody"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pictures", "run"]


def test_places_that_hold_more_than_a_run_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    library = tmp_path / "deep" / "library"
    library.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(library)
    for place in (
        Path("/"),
        Path.home(),
        Path.home().parent,
        Path("."),
        Path(".."),
        library,
        library.parent,
        link,
    ):
        with pytest.raises(InvalidParams):
            check_target(Path(os.path.abspath(place)) if place != link else link, True, [library])
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InvalidParams, match="is a file"):
        check_target(file, True)


def reference_errors(folder: Path) -> list[str]:
    """What the contract's own validator looks at, spelled out."""
    metadata, numbers, path = (data(folder, f"{name}.json") for name in ("metadata", "metrics", "latent_pca"))
    keys = [
        "schema_version",
        "generator",
        "prompt",
        "steps",
        "timesteps",
        "images",
        "layers",
        "attention_files",
    ]
    wrong = [key for key in keys if key not in metadata]
    steps = metadata["steps"]
    lists = (metadata["timesteps"], metadata["images"], numbers["latent_l2_norm"], path["points"])
    wrong += [f"{len(values)} entries" for values in lists if len(values) != steps]
    wrong += ["ratios"] * (len(path["explained_variance_ratio"]) != 2)
    for found in metadata["attention_files"]:
        if (folder / found["path"]).stat().st_size != 2 * np.prod(found["shape"]):
            wrong.append(found["path"])
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return wrong + ["size"] * (size > 200_000_000)


def test_the_contracts_own_validator_passes_what_is_written_but_for_float32(run, folder, tmp_path):
    assert reference_errors(folder) == []
    options = Options(dtype="float32", allow_float32=True)
    assert reference_errors(write(plan(run, options), tmp_path / "wide")) != []
