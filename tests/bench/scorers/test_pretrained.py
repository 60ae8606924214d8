"""Checkpoints from folders and the Hub, and the sentences that are said where one cannot be had."""

import json
import shutil

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffatlas.bench.scored import open_scorer
from diffatlas.bench.scorers import pretrained
from diffatlas.bench.scorers.clip_model import open_clip
from diffatlas.bench.scorers.detectors.opened import open_detector
from diffatlas.errors import BackendFailure, InvalidParams, ModelLoadError, NotEnoughMemory, UnknownModel
from tests.model_hub import COMMIT, serve


@pytest.fixture
def copied(judge, tmp_path):
    """Return a copy of a checkpoint, to be damaged."""

    def copy(name):
        return shutil.copytree(judge(name), tmp_path / name)

    return copy


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = huggingface_hub.constants
    with serve() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def test_a_model_of_the_hub_is_fetched_once_and_pinned(hub, judge, photos):
    files = hub.add("someone/clip", judge("clip"))
    hub.repos["someone/clip"]["pytorch_model.bin"] = hub.repos["someone/clip"]["onnx/model.json"] = b"{}"
    scorer = open_scorer("clip:someone/clip")
    assert (scorer.card.model, scorer.card.revision) == ("someone/clip", COMMIT)
    fetched = {path.rpartition("/")[2] for _, path, sent in hub.calls if sent and "/resolve/" in path}
    assert fetched == set(files)
    sent = hub.sent(".safetensors")
    again = open_scorer("clip:someone/clip")
    assert hub.sent(".safetensors") == sent
    assert again.card == scorer.card


def test_what_the_hub_does_not_give_is_said_in_a_sentence(hub, judge):
    hub.add("someone/clip", judge("clip"))
    for name, options in (("someone/other", {}), ("someone/clip", {"revision": "refs/pr/7"})):
        with pytest.raises(ModelLoadError, match="could not be fetched from the Hugging Face Hub") as caught:
            open_clip(name, **options)
        assert "\n" not in str(caught.value)
        assert all(value in str(caught.value) for value in (name, *options.values()))
    hub.repos["someone/pickled"] = {
        "config.json": (judge("clip") / "config.json").read_bytes(),
        "tokenizer.json": b"{}",
        "preprocessor_config.json": (judge("clip") / "preprocessor_config.json").read_bytes(),
        "pytorch_model.bin": b"never read",
    }
    hub.told["someone/pickled"] = {}
    with pytest.raises(ModelLoadError, match="no weights as safetensors"):
        open_clip("someone/pickled")
    assert hub.sent(".bin") == 0


def test_visitors_of_a_shared_server_have_the_listed_models_alone(judge, monkeypatch, tmp_path):
    listed, other = judge("clip"), judge("owlv2")
    (tmp_path / "scorers.md").write_text(f'"{listed}" | Listed | kind=clip\n')
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path))
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    assert open_scorer("clip").card.model == str(listed)
    for name in (f"objects:{other}", "clip:someone/clip", "clip:/etc"):
        with pytest.raises(InvalidParams, match="On a shared server"):
            open_scorer(name)


def test_offline_a_model_that_is_not_here_is_one_sentence():
    for name in ("clip", "objects", "clip:openai/clip-vit-base-patch32"):
        with pytest.raises(ModelLoadError, match="is not on this machine") as caught:
            open_scorer(name)
        assert "\n" not in str(caught.value)


def test_what_is_no_name_of_a_model_is_said(judge):
    with pytest.raises(UnknownModel, match="There is no model '/nowhere'"):
        open_clip("/nowhere")
    with pytest.raises(ModelLoadError, match="has no revision 'main'"):
        open_clip(str(judge("clip")), revision="main")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.json", "lacks the files of its tokenizer"),
        ("preprocessor_config.json", "could not be loaded"),
        ("model.safetensors", "no weights as safetensors"),
    ],
)
def test_a_missing_file_is_named(copied, name, words):
    folder = copied("clip")
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match=words) as caught:
        open_clip(str(folder))
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_named(copied):
    folder = copied("clip")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors are incomplete or damaged"):
        open_clip(str(folder))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        open_clip(str(folder))
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelLoadError, match=r"config\.json cannot be read"):
        open_clip(str(folder))


def test_weights_that_are_missing_or_of_another_shape_are_never_drawn_at_random(copied):
    folder = copied("clip")
    weights = load_file(folder / "model.safetensors")
    gone = weights.pop("visual_projection.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelLoadError, match=r"no fitting weights for 1 of its parts, such as visual_projection\.weight"
    ):
        open_clip(str(folder))
    save_file(
        {**weights, "visual_projection.weight": gone[:, :4].clone()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ModelLoadError, match=r"for 1 of its parts, such as visual_projection\.weight"):
        open_clip(str(folder))


def test_weights_in_several_files_are_read_where_all_are_there(copied, photos):
    folder = copied("clip")
    expected = open_clip(str(folder)).images(photos)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[:20], "model-00002-of-00002.safetensors": names[20:]}
    for file, own in parts.items():
        save_file({name: weights[name] for name in own}, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, own in parts.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert open_clip(str(folder)).images(photos) == pytest.approx(expected, abs=1e-6)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="no weights as safetensors"):
        open_clip(str(folder))


def test_code_that_comes_with_a_model_is_not_run(copied, photos):
    folder = copied("clip")
    trap = folder / "trap.py"
    trap.write_text("raise SystemExit('run')\n")
    for name, key in (("config.json", "AutoModel"), ("preprocessor_config.json", "AutoImageProcessor")):
        told = json.loads((folder / name).read_text())
        (folder / name).write_text(
            json.dumps({**told, "auto_map": {key: "trap.Trap", "AutoTokenizer": "trap.Trap"}})
        )
    assert len(open_clip(str(folder)).images(photos)) == len(photos)


def test_a_model_of_another_kind_is_refused(judge, copied):
    with pytest.raises(ModelLoadError, match="is a owlv2 and no CLIP"):
        open_clip(str(judge("owlv2")))
    with pytest.raises(ModelLoadError, match="is a clip, which is no detector"):
        open_detector(str(judge("clip")))
    folder = copied("clip")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 10**9
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="num_hidden_layers is more than 1,000"):
        open_clip(str(folder))


def test_device_dtype_and_memory_are_checked(judge, monkeypatch):
    folder = str(judge("clip"))
    with pytest.raises(InvalidParams, match="The device 'moon' cannot be used"):
        open_clip(folder, device="moon")
    with pytest.raises(InvalidParams, match="The dtype is 'int8'"):
        open_clip(folder, dtype="int8")
    monkeypatch.setattr(pretrained, "free_memory", lambda device: 1000)
    with pytest.raises(NotEnoughMemory, match="needs about"):
        open_clip(folder)
    monkeypatch.setenv("DIFFATLAS_IGNORE_MEMORY", "1")
    assert open_clip(folder).loaded.dtype == "fp32"


def test_it_runs_in_the_dtype_that_is_asked_for(judge, photos):
    folder = str(judge("clip"))
    clip = open_clip(folder, dtype="bf16")
    assert clip.loaded.dtype == "bf16"
    assert clip.loaded.model.visual_projection.weight.dtype == torch.bfloat16
    exact = open_clip(folder).images(photos)
    assert (clip.images(photos) * exact).sum(1) == pytest.approx(1, abs=0.01)


def test_numbers_that_are_not_finite_are_said_and_never_judged(judge, photos):
    for name in ("mask2former", "detr", "owlv2", "grounding_dino"):
        detector = open_detector(str(judge(name)))
        for weights in detector.loaded.model.parameters():
            weights.data.fill_(float("nan"))
        with pytest.raises(BackendFailure, match=r"not finite in fp32|failed with"):
            detector.detect(photos[:1], ("dog",), 0.3)
    clip = open_clip(str(judge("clip")))
    clip.loaded.model.visual_projection.weight.data.fill_(float("nan"))
    with pytest.raises(BackendFailure, match="not finite in fp32"):
        clip.images(photos[:1])
