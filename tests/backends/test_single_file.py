"""Checkpoints in one file, against the pipelines that were written into them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffatlas import cli
from diffatlas.backends import dtypes, loading, model_info, open_backend, single_file
from diffatlas.backends.look_up import look_up
from diffatlas.backends.model_info import find_source
from diffatlas.errors import ModelLoadError, UnknownModel
from diffatlas.library.reader import read_run
from diffatlas.registry import ModelEntry, add_model, own_models
from diffatlas.run import collect
from tests.ldm_layout import write_single_file

USUAL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
PARTS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, sd_pipe) -> Path:
    return write_single_file(sd_pipe, tmp_path_factory.mktemp("my files") / "one.safetensors")


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> Path:
    """No models of the user's, and nothing in the Hub's cache."""
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "models.md"))
    monkeypatch.setenv("DIFFATLAS_DEVICE", "cpu")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "models.md"


def cache_configs(cache: Path, folder: Path, repository: str = USUAL) -> Path:
    """Put a pipeline's configs into the Hub's cache, as `hf download` does."""
    commit = "0123456789" * 4
    room = cache / f"models--{repository.replace('/', '--')}"
    (room / "refs").mkdir(parents=True)
    (room / "refs" / "main").write_text(commit)
    no_weights = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(folder, room / "snapshots" / commit, ignore=no_weights))


def test_its_weights_are_those_that_were_written(checkpoint, sd_folder, sd_pipe):
    source = find_source(str(checkpoint), config=str(sd_folder))
    loaded = loading.load(source, source.folder, "cpu", "fp32")
    assert type(loaded.pipe) is type(sd_pipe)
    for part in PARTS:
        ours, theirs = getattr(loaded.pipe, part).state_dict(), getattr(sd_pipe, part).state_dict()
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), part
    configs = [dict(pipe.scheduler.config) for pipe in (loaded.pipe, sd_pipe)]
    ours, theirs = ({n: v for n, v in config.items() if not n.startswith("_")} for config in configs)
    assert ours == theirs
    assert loaded.info.name == "one"


def test_it_runs_as_the_folder_does(checkpoint, sd_folder, asked):
    """Bit for bit, and under an identity of its own."""
    add_model(ModelEntry(str(checkpoint), "One file", config=str(sd_folder)))
    backend = open_backend("local", device="cpu")
    folder = collect(backend.trace(asked)).raise_for_error()
    params = backend.resolve(asked.replace(model=str(checkpoint), width=None, height=None))
    assert (params.width, params.height) == (64, 64)
    before = backend.identity(params)
    file = collect(backend.trace(params)).raise_for_error()
    assert np.array_equal(file.images[0], folder.images[0])
    assert all(np.array_equal(a.latents, b.latents) for a, b in zip(file.steps, folder.steps, strict=True))
    assert file.provenance["identity"] == before == backend.identity(params)
    assert before["revision"] != folder.provenance["identity"]["revision"]
    assert file.provenance["source"] == "file"
    assert file.provenance["revision"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_what_pins_it_changes_with_the_file_and_with_the_configs(checkpoint, sd_folder, tmp_path):
    file, configs = tmp_path / "a.safetensors", tmp_path / "configs"
    shutil.copy(checkpoint, file)
    shutil.copytree(sd_folder, configs, ignore=shutil.ignore_patterns("*.safetensors"))

    def pinned():
        return model_info.revision(find_source(str(file), config=str(configs)).folder)

    first = pinned()
    assert first == pinned()
    # The weights that lie beside the configs of a folder are not read.
    assert first == model_info.revision(find_source(str(file), config=str(sd_folder)).folder)
    weights = load_file(file)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, file)
    second = pinned()
    assert second["sha256"] != first["sha256"]
    assert second["config_sha256"] == first["config_sha256"]
    path = configs / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"}))
    third = pinned()
    assert third["sha256"] == second["sha256"]
    assert third["config_sha256"] != second["config_sha256"]


def test_configs_of_the_hubs_cache_are_found_by_the_weights(checkpoint, sd_folder, tmp_path):
    with pytest.raises(ModelLoadError, match=f"needs the configs of {USUAL}") as caught:
        find_source(str(checkpoint))
    assert "--config FOLDER" in caught.value.message
    assert "\n" not in caught.value.message
    cache_configs(tmp_path / "cache", sd_folder)
    source = find_source(str(checkpoint))
    assert loading.load(source, source.folder, "cpu", "fp32").info.pipeline == "StableDiffusionPipeline"
    named = find_source(str(checkpoint), config=USUAL)
    assert named == source
    with pytest.raises(ModelLoadError, match="needs the configs of some/other"):
        find_source(str(checkpoint), config="some/other")


def test_the_kind_of_weights_is_read_from_their_names_and_shapes(tmp_path):
    file = tmp_path / "xl.safetensors"
    name = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
    save_file({name: torch.zeros(4)}, file)
    assert single_file.usual_config(file) == "stabilityai/stable-diffusion-xl-base-1.0"
    assert single_file.stored_dtype(file) == "F32"


def test_it_is_looked_up_like_any_other(checkpoint, sd_folder, sd_pipe):
    card = look_up(str(checkpoint), config=str(sd_folder))
    there = look_up(str(sd_folder))
    same = ("pipeline", "size", "dtype", "problem", "steps", "guidance", "on_disk", "download_bytes")
    assert [getattr(card, name) for name in same] == [getattr(there, name) for name in same]
    tensors = [t for part in PARTS for t in getattr(sd_pipe, part).state_dict().values()]
    assert card.weight_bytes == sum(t.numel() * t.element_size() for t in tensors)
    assert (card.id, card.name, card.config) == (str(checkpoint), "one", str(sd_folder.resolve()))


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_runs_in_what_it_is_stored_in(tmp_path, sd_pipe, sd_folder, dtype):
    stored = getattr(torch, dtypes.DTYPES[dtype])
    file = write_single_file(sd_pipe, tmp_path / "half.safetensors", stored)
    source = find_source(str(file), config=str(sd_folder))
    assert dtypes.pick_dtype("auto", "cuda", source, source.folder) == dtype
    assert dtypes.pick_dtype("auto", "cpu", source, source.folder) == "fp32"


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".bin"])
def test_a_pickle_is_never_read(tmp_path, sd_folder, ending):
    file = tmp_path / f"x{ending}"
    file.write_bytes(b"\x80\x04.")
    for config in (None, str(sd_folder)):
        with pytest.raises(ModelLoadError, match="pickle, which is never read"):
            find_source(str(file), config=config)


def test_what_is_wrong_is_one_sentence(tmp_path, checkpoint, sd_folder):
    cut, other = tmp_path / "cut.safetensors", tmp_path / "notes.md"
    cut.write_bytes(checkpoint.read_bytes()[:1000])
    other.write_text("x")
    with pytest.raises(ModelLoadError, match="not a whole safetensors file"):
        find_source(str(cut))
    with pytest.raises(UnknownModel, match="neither a pipeline folder nor a safetensors file"):
        find_source(str(other))
    for asked in ({"variant": "fp16"}, {"revision": "main"}, {"subfolder": "a"}):
        with pytest.raises(ModelLoadError, match="has no variant, revision or subfolder"):
            find_source(str(checkpoint), **asked, config=str(sd_folder))
    with pytest.raises(ModelLoadError, match=r"configs of one\.safetensors cannot be found"):
        find_source(str(checkpoint), config="nobodys")


def test_part_of_a_pipeline_is_not_taken_for_all_of_it(tmp_path, checkpoint, sd_folder):
    """Weights that the file lacks are not taken from the folder of the configs, which would pin others than ran."""
    weights = load_file(checkpoint)
    part = tmp_path / "part.safetensors"
    save_file({n: t for n, t in weights.items() if not n.startswith("cond_stage_model")}, part)
    source = find_source(str(part), config=str(sd_folder))
    with pytest.raises(ModelLoadError, match="could not be loaded") as caught:
        loading.load(source, source.folder, "cpu", "fp32")
    assert "\n" not in caught.value.message
    wrong = find_source(str(checkpoint), config="shapes")
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        loading.load(wrong, wrong.folder, "cpu", "fp32")


def test_the_shell_adds_it_with_its_configs_and_runs_it(tmp_path, checkpoint, sd_folder, capsys, monkeypatch):
    assert cli.run(["models", "add", str(checkpoint), "--config", str(sd_folder), "--steps", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Added: {checkpoint}"
    assert (own_models()[0].id, own_models()[0].config) == (str(checkpoint), str(sd_folder.resolve()))
    out = tmp_path / "run"
    monkeypatch.chdir(checkpoint.parent)
    assert cli.run(["trace", "a red circle", "--model", checkpoint.name, "--out", str(out)]) == 0
    assert len(read_run(out).steps) == 3
    capsys.readouterr()
    assert cli.run(["models", "remove", str(checkpoint)]) == 0
    assert cli.run(["models", "add", str(checkpoint)]) == 2
    assert f"needs the configs of {USUAL}" in capsys.readouterr().err
    assert checkpoint.is_file()
