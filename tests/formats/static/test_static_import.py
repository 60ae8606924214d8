"""Static run folders become runs: ours come back as they were, others with their gaps."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.read import import_static
from diffatlas.formats.static.write import Options, plan, write
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.formats.static.static_folders import CROSS, reference_folder

OWN = {"up_blocks.0.attn1": ((16, 16), (8, 8), "up")}


@pytest.fixture
def library(tmp_path) -> Library:
    return Library(tmp_path / "library")


def attention_of(library, run_id):
    return AttentionTrace.of(library.load(run_id))


def test_our_own_folder_comes_back_as_it_was(library, tmp_path):
    run = run_of(5, own=OWN)
    done = import_static(library, write(plan(run), tmp_path / "run"))
    assert done.new
    assert done.notes == ()
    back = library.load(done.run_id)
    assert back.params == run.params
    assert [s.timestep for s in back.steps] == [s.timestep for s in run.steps]
    assert [s.sigma for s in back.steps] == [s.sigma for s in run.steps]
    for a, b in zip(back.steps, run.steps, strict=True):
        np.testing.assert_array_equal(a.latents, b.latents.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(a.noise_pred, b.noise_pred.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(a.preview, b.preview)
        # At its native size nothing was resampled.
        key = "cross:up_blocks.0.attn2"
        np.testing.assert_array_equal(a.attention[key], b.attention[key])
        np.testing.assert_allclose(
            a.attention["self:up_blocks.0.attn1"], b.attention["self:up_blocks.0.attn1"], rtol=2e-3, atol=1e-6
        )
    np.testing.assert_array_equal(back.images[0], run.images[0])
    np.testing.assert_array_equal(back.initial_latents, run.initial_latents.astype(np.float16))
    mine, theirs = AttentionTrace.of(run), attention_of(library, done.run_id)
    assert theirs.tokens == mine.tokens
    np.testing.assert_allclose(theirs.word_map("red"), mine.word_map("red"), atol=1e-3)
    np.testing.assert_allclose(theirs.looks_at(1, (0.4, 0.6)), mine.looks_at(1, (0.4, 0.6)), rtol=5e-3)


def test_a_folder_of_another_tool_with_bare_nan_becomes_a_run_with_gaps(library, tmp_path):
    folder = reference_folder(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["latent_l2_norm"][1] = math.nan
    metrics["cross_attention_entropy"][0]["mean"] = math.nan
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert "NaN" in (folder / "metrics.json").read_text()
    done = import_static(library, folder)
    told = [note for note in done.notes if "NaN in 1 place," in note]
    assert [note.split()[2] for note in sorted(told)] == ["cross_attention_entropy", "latent_l2_norm"]
    assert any("no latents" in note for note in done.notes)
    run = library.load(done.run_id)
    assert run.params.prompt == "a crocodile, blue"
    assert run.params.num_inference_steps == 2
    assert len(run.steps) == 3
    assert [step.metrics.get("norm") for step in run.steps] == [60.0, None, 40.0]
    assert run.steps[0].latents is None
    assert run.images[0].shape == (32, 32, 3)
    info = library.open(done.run_id).info
    assert (info.attention, info.status) == ("all", "complete")


def test_words_are_told_from_clips_spelling(library, tmp_path):
    done = import_static(library, reference_folder(tmp_path / "run"))
    attention = attention_of(library, done.run_id)
    words = [(t.text, t.word, t.word_text, t.special) for t in attention.tokens[:7]]
    assert words == [
        ("<|startoftext|>", None, None, True),
        ("a", 0, "a", False),
        ("cro", 1, "crocodile", False),
        ("codile", 1, "crocodile", False),
        (",", None, None, False),
        ("blue", 2, "blue", False),
        ("<|endoftext|>", None, None, True),
    ]
    stored = library.open(done.run_id).attention(0)[f"cross:{CROSS.removesuffix('.processor')}"][0]
    np.testing.assert_allclose(
        attention.word_maps("crocodile")[0], stored[2:4].astype(np.float32).mean(0), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("bins", "side", "placed"), [(4, 8, True), (8, 8, True), (16, 8, False), (3, 6, True)]
)
def test_bands_are_placed_where_they_are_whole_rows(library, tmp_path, bins, side, placed):
    folder = reference_folder(tmp_path / "run", bins=bins, side=side)
    done = import_static(library, folder)
    stored = library.open(done.run_id).attention(1)
    own = [maps for key, maps in stored.items() if key.startswith("self:")]
    assert bool(own) == placed
    if placed:
        assert own[0].shape == (1, bins, 1, bins, 1)
        np.testing.assert_allclose(own[0].sum((3, 4)), 1, atol=5e-3)
        assert [x.grid for x in attention_of(library, done.run_id).self_layers] == [(side, side)]
    else:
        assert any("no whole rows" in note for note in done.notes)


def test_the_same_folder_comes_in_once(library, tmp_path):
    folder = reference_folder(tmp_path / "run")
    first = import_static(library, folder)
    again = import_static(library, folder)
    assert (again.run_id, again.new) == (first.run_id, False)
    assert len(library.list()) == 1
    other = import_static(library, reference_folder(tmp_path / "other", seed=1))
    assert other.run_id != first.run_id


def test_an_imported_run_never_answers_a_query(library, tmp_path):
    done = import_static(library, write(plan(run_of()), tmp_path / "run"))
    manifest = library.open(done.run_id).manifest
    assert manifest["imported"] is True
    assert "key" not in manifest


def test_what_is_damaged_is_left_out_and_told(library, tmp_path):
    folder = reference_folder(tmp_path / "run")
    (folder / "images/step_001.png").write_text("no picture")
    (folder / "attention/cross/layer_0_step_002.bin").write_bytes(b"short")
    poisoned = np.full((77, 8, 8), np.nan, "<f2")
    (folder / "attention/cross/layer_0_step_001.bin").write_bytes(poisoned.tobytes())
    done = import_static(library, folder)
    run = library.load(done.run_id)
    assert [step.preview is None for step in run.steps] == [False, True, False]
    crossed = [any(k.startswith("cross:") for k in step.attention) for step in run.steps]
    assert crossed == [True, False, False]
    told = " ".join(done.notes)
    for name in ("step_001.png", "layer_0_step_002.bin", "layer_0_step_001.bin"):
        assert name in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema_version": 1}, "schema_version"),
        ({"generator": []}, "generator"),
        ({"steps": 10**9}, "steps"),
        ({"generator": {"seed": -1}}, "seed"),
        ({"generator": {"seed": 1, "cfg_scale": "many"}}, "cfg_scale"),
        ({"generator": {"seed": 1, "num_steps": 0}}, "steps"),
    ],
)
def test_metadata_that_cannot_be_used_is_refused_whole(library, tmp_path, changes, told):
    folder = reference_folder(tmp_path / "run")
    path = folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InvalidParams, match=told):
        import_static(library, folder)
    assert library.list() == []
    assert not library.folder.exists() or [p for p in library.folder.iterdir() if p.suffix == ".tmp"] == []


def test_names_in_the_folder_reach_no_other_file(library, tmp_path):
    folder = reference_folder(tmp_path / "run")
    secret = tmp_path / "secret.png"
    secret.write_bytes((folder / "images/step_000.png").read_bytes())
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["images"][0] = "../secret.png"
    metadata["layers"][0]["processor_key"] = "../../evil"
    path.write_text(json.dumps(metadata))
    done = import_static(library, folder)
    run = library.load(done.run_id)
    assert run.steps[0].preview is None
    outside = list(tmp_path.rglob("*evil*"))
    assert outside == []


def test_a_run_without_latents_is_listed_and_says_what_it_lacks(library, tmp_path):
    done = import_static(library, write(plan(run_of(), Options(npz=False)), tmp_path / "run"))
    (info,) = library.list()
    assert info.id == done.run_id
    with pytest.raises(CapabilityError, match="without latents"):
        library.open(done.run_id).latents()


def test_another_tools_folder_makes_the_same_folder_again(library, tmp_path):
    folder = reference_folder(tmp_path / "run")
    again = write(plan(library.load(import_static(library, folder).run_id)), tmp_path / "again")
    assert check_folder(again).problems == []
    for path in (p for p in folder.rglob("*") if p.suffix == ".bin"):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()
    for path in (p for p in folder.rglob("*") if p.suffix == ".png"):
        with Image.open(path) as a, Image.open(again / path.relative_to(folder)) as b:
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert not (again / "images/final.png").exists()
    for name in ("metadata", "metrics", "latent_pca"):
        before, after = (json.loads((one / f"{name}.json").read_text()) for one in (folder, again))
        if name == "metadata":
            assert after["generator"].pop("pipeline_type") == "sd"
        assert {key: after[key] for key in before} == before


def test_of_a_folder_that_is_written_again_a_part_keeps_its_numbers(library, tmp_path):
    run = run_of(5, own=OWN)
    folder = write(plan(run), tmp_path / "run")
    back = library.load(import_static(library, folder).run_id)
    part = write(plan(back, Options(layers=("down",), resolution=4)), tmp_path / "part")
    assert check_folder(part).problems == []
    wanted = write(plan(run, Options(layers=("down",), resolution=4)), tmp_path / "wanted")
    before, after = (json.loads((one / "metrics.json").read_text()) for one in (wanted, part))
    assert before == after


def test_a_run_that_came_in_by_a_former_version_without_latents_says_what_to_do(library, tmp_path):
    done = import_static(library, write(plan(run_of()), tmp_path / "run"))
    run = library.load(done.run_id)
    former = {name: value for name, value in run.provenance.items() if name != "static"}
    assert plan(replace(run, provenance=former)).files
    bare = tuple(replace(step, latents=None) for step in run.steps)
    with pytest.raises(CapabilityError, match="import its folder again"):
        plan(replace(run, provenance=former, steps=bare))


def test_float32_is_read_to_the_float16_that_runs_keep(library, tmp_path):
    run = run_of(5)
    folder = write(plan(run, Options(dtype="float32", allow_float32=True)), tmp_path / "run")
    back = library.load(import_static(library, folder).run_id)
    np.testing.assert_array_equal(AttentionTrace.of(back).entropy(), AttentionTrace.of(run).entropy())
    for a, b in zip(run.steps, back.steps, strict=True):
        np.testing.assert_array_equal(
            b.attention["cross:up_blocks.0.attn2"], a.attention["cross:up_blocks.0.attn2"]
        )
