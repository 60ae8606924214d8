"""Which weight files are read: variants, parts, mixtures, subfolders, revisions."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffatlas.backends import dtypes, loading, model_info, open_backend
from diffatlas.backends.model_info import ModelSource, find_source, weights_of
from diffatlas.backends.weights import variant_of
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError, ModelLoadError, UnknownModel
from diffatlas.registry import ModelEntry
from diffatlas.run import collect

MODELS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def half(tmp_path_factory, sd_pipe) -> Path:
    """A folder that holds only `*.fp16.safetensors`."""
    folder = tmp_path_factory.mktemp("half") / "half"
    copy.deepcopy(sd_pipe).to(torch.float16).save_pretrained(folder, variant="fp16")
    return folder


@pytest.fixture
def mixed(tmp_path, half, sd_folder) -> Path:
    """UNet in fp16 only, VAE plain only, text encoder in both, and none of the three the same."""
    folder = tmp_path / "mixed"
    shutil.copytree(sd_folder, folder)
    shutil.rmtree(folder / "unet")
    shutil.copytree(half / "unet", folder / "unet")
    shutil.copy(half / "text_encoder" / "model.fp16.safetensors", folder / "text_encoder")
    return folder


def loaded(folder, **asked):
    source = find_source(str(folder), **asked)
    return loading.load(source, source.folder, "cpu", "fp32")


def tensors(pipe):
    return {name: getattr(pipe, name).state_dict() for name in MODELS}


def same(state, file, dtype=torch.float32):
    """Whether a loaded component has the values of a file, read by safetensors."""
    stored = load_file(file)
    known = {name: value for name, value in stored.items() if name in state}
    assert len(known) > 10
    return all(torch.equal(state[name], value.to(dtype)) for name, value in known.items())


def chosen(folder, **asked):
    source = find_source(str(folder), **asked)
    return {part.component: part.variant for part in weights_of(source, source.folder)}


def test_a_folder_of_one_variant_loads(half, asked):
    found = loaded(half)
    assert chosen(half) == dict.fromkeys(MODELS, "fp16")
    assert found.variant == "fp16"
    for name, file in (
        ("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model"),
    ):  # fmt: skip
        assert same(getattr(found.pipe, name).state_dict(), half / name / f"{file}.fp16.safetensors")
    # A GPU would run them as they are stored.
    assert dtypes.pick_dtype("auto", "cuda", find_source(str(half)), half) == "fp16"
    run = collect(open_backend("local", device="cpu").trace(asked.replace(model=str(half)))).raise_for_error()
    assert run.provenance["variant"] == run.provenance["identity"]["variant"] == "fp16"


def test_the_estimate_is_of_the_files_that_are_read(half, mixed, sd_folder):
    plain = model_info.weight_bytes(model_info.weight_files(sd_folder, None), "fp32")
    for folder in (half, mixed):
        assert model_info.weight_bytes(model_info.weight_files(folder, None), "fp32") == pytest.approx(
            plain, rel=0.01
        )
    assert {file.name for file in model_info.weight_files(half, None)} == {
        "diffusion_pytorch_model.fp16.safetensors", "model.fp16.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_a_variant_in_parts_loads(tmp_path, sd_pipe, dtype):
    folder, stored = tmp_path / "parts", {"bf16": torch.bfloat16, "fp32": torch.float32}[dtype]
    copy.deepcopy(sd_pipe).to(stored).save_pretrained(folder, variant=dtype, max_shard_size="20KB")
    shards = sorted(file.name for file in (folder / "unet").glob("*.safetensors"))
    assert len(shards) > 1
    assert all(f".{dtype}-000" in name for name in shards)
    assert len(list((folder / "text_encoder").glob(f"model.{dtype}-*.safetensors"))) > 1
    found = loaded(folder)
    assert found.variant == dtype
    assert {file.name for file in model_info.weight_files(folder, None)} == {
        file.name for file in folder.rglob("*.safetensors")
    }
    for name, state in tensors(found.pipe).items():
        values = {}
        for file in (folder / name).glob("*.safetensors"):
            values |= load_file(file)
        assert all(torch.equal(state[key], value.float()) for key, value in values.items() if key in state)
    (folder / "unet" / shards[1]).unlink()
    with pytest.raises(ModelLoadError, match=shards[1].replace(".", r"\.")):
        loaded(folder)


def test_each_component_has_its_own_variant(mixed, half, sd_folder):
    assert chosen(mixed) == {"unet": "fp16", "vae": None, "text_encoder": None}
    found = loaded(mixed)
    assert found.variant == {"unet": "fp16"}
    state = tensors(found.pipe)
    assert same(state["unet"], half / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert same(state["vae"], sd_folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert same(state["text_encoder"], sd_folder / "text_encoder" / "model.safetensors")
    assert not same(state["text_encoder"], half / "text_encoder" / "model.fp16.safetensors")

    asked = loaded(mixed, variant="fp16")
    assert chosen(mixed, variant="fp16") == {"unet": "fp16", "vae": None, "text_encoder": "fp16"}
    assert asked.variant == "fp16"
    assert same(tensors(asked.pipe)["text_encoder"], half / "text_encoder" / "model.fp16.safetensors")


def test_two_variants_in_one_pipeline(half, tmp_path, sd_pipe):
    folder = tmp_path / "two"
    shutil.copytree(half, folder)
    shutil.rmtree(folder / "vae")
    copy.deepcopy(sd_pipe.vae).to(torch.bfloat16).save_pretrained(folder / "vae", variant="bf16")
    found = loaded(folder)
    assert found.variant == {"unet": "fp16", "vae": "bf16", "text_encoder": "fp16"}
    assert same(found.pipe.vae.state_dict(), folder / "vae" / "diffusion_pytorch_model.bf16.safetensors")
    with pytest.raises(ModelLoadError, match=r"text_encoder.*only 'fp16'") as caught:
        loaded(folder, variant="bf16")
    assert "\n" not in str(caught.value)


def test_a_name_without_a_dot_is_no_obstacle(half, tmp_path):
    folder = tmp_path / "half"
    shutil.copytree(half, folder)
    (folder / "unet" / "LICENSE").write_text("free\n")
    assert loaded(folder).variant == "fp16"


@pytest.mark.parametrize(
    ("have", "words"),
    [
        ("half", "it has 'fp16'"),
        ("sd_folder", "it has plain files"),
        ("mixed", "it has plain files and 'fp16'"),
    ],
)
def test_a_variant_that_is_not_there(request, asked, have, words):
    folder = request.getfixturevalue(have)
    with pytest.raises(ModelLoadError, match=words) as caught:
        loaded(folder, variant="int8")
    assert caught.value.field == "variant"
    params = asked.replace(model=str(folder), variant="int8")
    with pytest.raises(ModelLoadError, match=words):
        collect(open_backend("local", device="cpu").trace(params))


def test_what_is_missing_is_named(half, sd_folder, tmp_path):
    for number, (source, file, words) in enumerate(
        [
            (
                half,
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "unet/diffusion_pytorch_model.safetensors",
            ),
            (sd_folder, "text_encoder/model.safetensors", "text_encoder/model.safetensors"),
        ]
    ):
        folder = tmp_path / str(number)
        shutil.copytree(source, folder)
        (folder / file).unlink()
        with pytest.raises(ModelLoadError, match=words.replace(".", r"\.")) as caught:
            loaded(folder)
        assert str(caught.value).count(". ") == 0
        torch.save({}, folder / Path(file).parent / "pytorch_model.bin")
        with pytest.raises(ModelLoadError, match="pickles"):
            loaded(folder)
    shutil.rmtree(folder / "vae")
    with pytest.raises(ModelLoadError, match=r"vae.*no such folder|text_encoder"):
        loaded(folder)


def test_a_hint_of_the_registry_is_taken_where_it_is_there(mixed, sd_folder):
    entry = ModelEntry("x", "X", variant="fp16")
    weights = weights_of(ModelSource("x", mixed, entry), mixed)
    assert {part.component: part.variant for part in weights} == {
        "unet": "fp16", "vae": None, "text_encoder": "fp16",
    }  # fmt: skip
    assert variant_of(weights) == "fp16"
    assert variant_of(weights_of(ModelSource("x", sd_folder, entry), sd_folder)) is None
    # What a request names is asked for; the registry's is what one gets unasked.
    assert variant_of(weights_of(ModelSource("x", mixed, entry, variant="fp16"), mixed)) == "fp16"


def test_the_choice_is_part_of_the_identity(mixed, asked):
    backend = open_backend("local", device="cpu")

    def identity(**changes):
        params = backend.resolve(asked.replace(model=str(mixed), **changes))
        return backend.identity(params)

    plain, named = identity(), identity(variant="fp16")
    assert {name for name in plain if plain[name] != named[name]} == {"variant"}
    first = collect(backend.trace(asked.replace(model=str(mixed)))).raise_for_error()
    other = collect(backend.trace(asked.replace(model=str(mixed), variant="fp16"))).raise_for_error()
    assert (first.provenance["identity"], other.provenance["identity"]) == (plain, named)
    # Another set of weights is another model: the resident one is not taken for it.
    assert not np.array_equal(first.steps[-1].latents, other.steps[-1].latents)


def test_a_pipeline_in_a_subfolder(half, tmp_path, asked):
    folder = tmp_path / "repository"
    shutil.copytree(half, folder / "models" / "half")
    shutil.copytree(half, folder / "top")
    with pytest.raises(UnknownModel, match="top"):
        find_source(str(folder))
    with pytest.raises(ModelLoadError, match=r"'elsewhere'.*top") as caught:
        find_source(str(folder), subfolder="elsewhere")
    assert caught.value.field == "subfolder"
    params = asked.replace(model=str(folder), subfolder="models/half")
    run = collect(open_backend("local", device="cpu").trace(params, Capture(predictions=False)))
    assert run.raise_for_error().provenance["subfolder"] == "models/half"
    plain = collect(open_backend("local", device="cpu").trace(asked.replace(model=str(half))))
    assert np.array_equal(run.images[0], plain.images[0])
    # The same files decide the same, wherever they are.
    assert run.provenance["identity"] == plain.provenance["identity"]


def test_no_way_out_of_the_folder(half, tmp_path, asked):
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copytree(half, tmp_path / "secret")
    (inside / "way").symlink_to(tmp_path / "secret")
    for subfolder in ("../secret", "/etc", "a/../../secret", "way"):
        with pytest.raises(DiffAtlasError) as caught:
            open_backend("local", device="cpu").resolve(asked.replace(model=str(inside), subfolder=subfolder))
        assert caught.value.field == "subfolder"


def test_a_folder_has_no_revisions(half):
    with pytest.raises(ModelLoadError, match="no revision 'main'") as caught:
        find_source(str(half), revision="main")
    assert caught.value.field == "revision"


@pytest.fixture
def hub(tmp_path, monkeypatch, half):
    """A registry with a model of the Hub, and what is asked of the Hub's two functions."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "local.md").write_text(
        "some/model | Some Model | variant=fp16 revision=v1.0\nin/side | Inside | subfolder=a/b\n"
    )
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path / "models"))
    snapshot = tmp_path / "hub" / "snapshots" / ("0123456789" * 4)
    shutil.copytree(half, snapshot)
    shutil.copytree(half, snapshot / "a" / "b")
    calls = []

    def fetched(model, **options):
        calls.append((model, options))
        return str(snapshot)

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", fetched)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    return calls


def test_the_hub_is_asked_for_what_is_named(hub, asked):
    backend = open_backend("local", device="cpu")
    params = asked.replace(model="some/model")
    found = backend.identity(backend.resolve(params))
    assert found["revision"] == {"commit": "0123456789" * 4}
    assert hub[-1][0] == "some/model"
    assert hub[-1][1].items() >= {
        "variant": "fp16", "revision": "v1.0", "use_safetensors": True, "local_files_only": True,
    }.items()  # fmt: skip
    backend.resolve(params.replace(revision="refs/pr/3"))
    assert hub[-1][1]["revision"] == "refs/pr/3"
    loading.fetch(find_source("some/model"))
    assert hub[-1][1]["variant"] == "fp16"
    # What is here has no such files, so that the Hub is asked again, and not from the cache.
    loading.fetch(find_source("some/model", variant="bf16"))
    assert hub[-1][1]["variant"] == "bf16"
    assert "local_files_only" not in hub[-1][1]


def test_a_subfolder_of_the_hub(hub, asked):
    backend = open_backend("local", device="cpu")
    params = asked.replace(model="in/side")
    run = collect(backend.trace(params)).raise_for_error()
    assert hub[-1][0] == "in/side"
    assert hub[-1][1]["allow_patterns"] == ["a/b/**"]
    assert "*.bin" in hub[-1][1]["ignore_patterns"]
    identity = run.provenance["identity"]
    assert (identity["revision"], identity["subfolder"]) == ({"commit": "0123456789" * 4}, "a/b")
    with pytest.raises(ModelLoadError, match="subfolder 'c'"):
        loading.fetch(find_source("in/side", subfolder="c"))


def test_an_index_that_leads_elsewhere_is_refused(tmp_path, sd_pipe):
    folder = tmp_path / "parts"
    copy.deepcopy(sd_pipe).save_pretrained(folder, max_shard_size="20KB")
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    data = json.loads(index.read_text())
    data["weight_map"] = {name: f"../../{file}" for name, file in data["weight_map"].items()}
    index.write_text(json.dumps(data))
    with pytest.raises(ModelLoadError, match="cannot be read"):
        loaded(folder)
