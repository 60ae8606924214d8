import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import diffatlas
from diffatlas import GenerationParams, ImageInput
from diffatlas.backends import dtypes, loading, memory, model_info, open_backend
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.model_info import describe, find_source, weight_bytes, weight_files
from diffatlas.errors import CapabilityError, InvalidParams, ModelLoadError, NotEnoughMemory, UnknownModel
from diffatlas.registry import ModelEntry, add_model, list_models
from diffatlas.run import collect

FAMILIES = ("sd", "sdxl", "sd3", "flux", "pixart")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_files_say_what_the_pipeline_says(folders, name):
    """The JSON files are read without diffusers; the loaded pipeline is the independent witness."""
    folder = folders(name)
    info = describe(name, folder)
    pipe = loading.load(find_source(str(folder)), folder, "cpu", "fp32").pipe
    assert info.pipeline == type(pipe).__name__
    denoiser = getattr(pipe, "transformer", None) or pipe.unet
    packing = 2 if name == "flux" else denoiser.config.get("patch_size", 1)
    assert info.size_multiple == pipe.vae_scale_factor * packing
    side = getattr(denoiser.config, "sample_size", None) or pipe.default_sample_size
    assert (info.width, info.height) == (side * pipe.vae_scale_factor,) * 2
    assert info.token_limit == pipe.tokenizer.model_max_length
    total = sum(
        p.numel()
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for p in part.parameters()
    )
    # Buffers and tied weights are the difference.
    assert weight_bytes(weight_files(folder, None), "fp16") == pytest.approx(2 * total, rel=0.05)


@pytest.mark.parametrize("name", ["qwen", "zimage", "flux2"])
def test_the_size_multiple_of_pipelines_that_pack(folders, name):
    """Each of these refuses or silently rounds a size that is not a multiple of twice its VAE factor."""
    from tests import pipelines

    pipe = getattr(pipelines, f"build_{name}")()
    assert describe(name, folders(name)).size_multiple == 2 * pipe.vae_scale_factor


def test_a_registry_size_wins_over_the_files(sd_folder):
    assert describe("x", sd_folder, ModelEntry("x", "X", size=32)).width == 32


def test_one_variant_is_counted_once(sd_folder, tmp_path):
    folder = tmp_path / "both"
    shutil.copytree(sd_folder, folder)
    plain = weight_bytes(weight_files(folder, None), "fp32")
    for path in list(folder.rglob("*.safetensors")):
        shutil.copy(path, path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    assert weight_bytes(weight_files(folder, None), "fp32") == plain
    assert weight_bytes(weight_files(folder, "fp16"), "fp32") == plain
    assert all(".fp16." in f.name for f in weight_files(folder, "fp16"))


def test_the_hash_follows_the_content_alone(sd_folder, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for folder in (a, b):
        shutil.copytree(sd_folder, folder)
    assert model_info.revision(a) == model_info.revision(b)
    weights = b / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert model_info.revision(a) != model_info.revision(b)


def test_a_snapshot_of_the_hub_is_its_commit(tmp_path):
    folder = tmp_path / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    assert model_info.revision(folder) == {"commit": "0" * 40}


def test_unknown_models(tmp_path):
    with pytest.raises(UnknownModel, match="diffatlas models"):
        find_source("no such model")
    with pytest.raises(UnknownModel, match=r"model_index\.json"):
        find_source(str(tmp_path))


def test_a_listed_model_without_its_files(tmp_path, monkeypatch):
    (tmp_path / "local.md").write_text("mine | Mine | size=64\nhub/mine | Mine too | size=64\n")
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path))
    with pytest.raises(ModelLoadError, match="missing"):
        find_source("mine")
    assert find_source("hub/mine").folder is None


def test_a_hub_model_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub = next(m for m in list_models() if "/" in m.id)
    with pytest.raises(ModelLoadError, match="network") as caught:
        loading.fetch(find_source(hub.id))
    assert "\n" not in str(caught.value)


def test_a_model_of_the_hub_need_not_be_listed():
    source = find_source("some-body/Their_Model-1.5", variant="fp16", revision="refs/pr/3", subfolder="a/b")
    assert (source.folder, source.entry, source.hint) == (None, None, None)
    assert (source.variant, source.revision, source.subfolder) == ("fp16", "refs/pr/3", "a/b")


@pytest.mark.parametrize(
    "model", ["shape", "sdxl-turbo", "a/b/c", "../b", "/no/where", "a b/c", "a//b", "a/b--c"]
)
def test_what_is_not_formed_like_a_model_of_the_hub_is_unknown(model):
    with pytest.raises(UnknownModel):
        find_source(model)


def test_a_mistyped_name_is_told_the_nearest(monkeypatch):
    with pytest.raises(UnknownModel, match="did you mean 'shapes'"):
        find_source("shape")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelLoadError, match="did you mean 'stabilityai/sdxl-turbo'"):
        loading.fetch(find_source("stabilityai/sdxl-turb"))
    with pytest.raises(ModelLoadError) as caught:
        loading.fetch(find_source("some-body/their-model"))
    assert "did you mean" not in caught.value.message


def test_an_unlisted_model_of_the_hub_runs_from_the_cache(tmp_path, monkeypatch, sd_folder, asked):
    commit = "0123456789" * 4
    snapshot = tmp_path / "models--some--model" / "snapshots" / commit
    shutil.copytree(sd_folder, snapshot)
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda model, **options: str(snapshot))
    backend = open_backend("local", device="cpu")
    params = asked.replace(model="some/model")
    assert backend.info("some/model") is None
    resolved = backend.resolve(params)
    assert backend.identity(resolved)["revision"] == {"commit": commit}
    run = collect(backend.trace(params)).raise_for_error()
    assert (run.provenance["source"], run.provenance["model"]) == ("hub", "some/model")
    assert run.provenance["identity"] == backend.identity(resolved)
    # Not the commit, which is the name of the folder.
    assert backend._resident.info.name == "model"


def test_a_folder_of_the_users_registry_is_a_model(tmp_path, monkeypatch, sd_folder, asked):
    folder = tmp_path / "my models" / "mine"
    shutil.copytree(sd_folder, folder)
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "models.md"))
    add_model(ModelEntry(str(folder), "Mine", size=64))
    source = find_source(str(folder))
    assert (source.folder, source.entry.name) == (folder, "Mine")
    loaded = loading.load(source, folder, "cpu", "fp32")
    assert loading.provenance(loaded, loaded.pipe.scheduler)["source"] == "folder"
    shutil.rmtree(folder)
    with pytest.raises(ModelLoadError, match="missing"):
        find_source(str(folder))


@pytest.mark.parametrize("broken", ["truncated", "no weights", "pickle", "bad json", "not a pipeline"])
def test_a_broken_folder_is_one_clear_error(sd_folder, tmp_path, broken):
    folder = tmp_path / "broken"
    shutil.copytree(sd_folder, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    if broken == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    if broken == "no weights":
        weights.unlink()
    if broken == "pickle":
        weights.unlink()
        torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    if broken == "bad json":
        (folder / "model_index.json").write_text("{")
    if broken == "not a pipeline":
        (folder / "model_index.json").write_text(
            json.dumps({"_class_name": "Nothing", "scheduler": ["a", "b"]})
        )
    with pytest.raises(ModelLoadError) as caught:
        loading.load(find_source(str(folder)), folder, "cpu", "fp32")
    assert "\n" not in str(caught.value)


def _of_class(sd_folder, folder, name):
    shutil.copytree(sd_folder, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": name}))
    return folder


def test_a_pipeline_that_makes_no_image_of_a_text_is_refused(sd_folder, tmp_path):
    folder = _of_class(sd_folder, tmp_path / "video", "TextToVideoSDPipeline")
    with pytest.raises(CapabilityError, match="makes no image of a text"):
        loading.load(find_source(str(folder)), folder, "cpu", "fp32")


def test_a_pipeline_that_starts_from_an_image_is_given_one(sd_folder, tmp_path):
    folder = _of_class(sd_folder, tmp_path / "img2img", "StableDiffusionImg2ImgPipeline")
    backend = LocalBackend("cpu", "fp32")
    asked = GenerationParams(model=str(folder), prompt="a red circle", seed=1, num_inference_steps=4)
    takes = backend.takes_picture(asked.model)
    assert (takes.task, takes.amount, takes.default, takes.needed) == ("edit", "strength", 0.8, True)
    with pytest.raises(InvalidParams, match="works on a picture: give one") as caught:
        backend.resolve(asked)
    assert caught.value.field == "inputs"
    picture = ImageInput.of("image", Image.fromarray(np.full((64, 64, 3), 90, np.uint8)))
    run = diffatlas.trace(asked.replace(inputs=(picture,), extra={"strength": 0.5}), backend=backend)
    assert len(run.raise_for_error().steps) == 2


def test_too_little_memory_is_noticed_before_loading(sd_folder, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    source = find_source(str(sd_folder))
    with pytest.raises(NotEnoughMemory, match="ignore-memory") as caught:
        loading.load(source, sd_folder, "cpu", "fp32")
    assert caught.value.free == 1000 < caught.value.needed
    assert loading.load(source, sd_folder, "cpu", "fp32", ignore_memory=True).dtype == "fp32"


@pytest.mark.parametrize(
    ("stored", "wanted", "device", "hint", "expected"),
    [
        ("fp16", "auto", "cpu", None, "fp32"),
        ("fp16", "auto", "cuda", None, "fp16"),
        ("bf16", "auto", "cuda", None, "bf16"),
        ("fp32", "auto", "cuda", None, "fp16"),
        ("fp16", "auto", "cuda", "fp32", "fp32"),
        ("fp16", "auto", "cpu", "bf16", "fp32"),
        ("fp32", "bf16", "cpu", None, "bf16"),
    ],
)
def test_dtype(sd_folder, tmp_path, stored, wanted, device, hint, expected):
    from safetensors.torch import save_file

    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[stored]
    (tmp_path / "unet").mkdir()
    save_file({"w": torch.zeros(2, dtype=dtype)}, tmp_path / "unet" / "model.safetensors")
    entry = ModelEntry("x", "X", dtype=hint) if hint else None
    source = model_info.ModelSource("x", tmp_path, entry)
    assert dtypes.pick_dtype(wanted, device, source, tmp_path) == expected


def test_half_precision_files_are_computed_in_single_on_a_cpu(sd_folder, tmp_path, sd_pipe):
    import copy

    folder = tmp_path / "half"
    copy.deepcopy(sd_pipe).to(torch.float16).save_pretrained(folder)
    source = find_source(str(folder))
    dtype = dtypes.pick_dtype("auto", "cpu", source, folder)
    loaded = loading.load(source, folder, "cpu", dtype)
    parts = (loaded.pipe.unet, loaded.pipe.vae, loaded.pipe.text_encoder)
    assert {p.dtype for part in parts for p in part.parameters()} == {torch.float32}


def test_the_embedded_model_is_where_the_registry_says():
    source = find_source("shapes")
    assert source.folder is not None
    assert isinstance(source.folder, Path)
    info = describe("shapes", source.folder, source.entry)
    assert (info.width, info.height, info.prediction) == (64, 64, "v_prediction")
    assert info.schedulers[0] == "ddim"
