"""What a model is, before it is loaded: against the pipeline that is loaded, and the bytes that are fetched."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

import diffatlas
from diffatlas.backends import dtypes, loading
from diffatlas.backends.look_up import look_up, size_words
from diffatlas.backends.model_info import find_source
from diffatlas.errors import ModelLoadError, UnknownModel
from diffatlas.registry import ModelEntry, add_model, line_of, parse_line
from tests.model_hub import COMMIT, serve

NAME = "some/Model-1"


@pytest.fixture(autouse=True)
def online(monkeypatch, tmp_path):
    """The Hub's client may call. It has no token, and nothing in its cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "models.md"))
    monkeypatch.setenv("DIFFATLAS_DEVICE", "cpu")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub(monkeypatch):
    with serve() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def memory(pipe, dtype):
    """Bytes of the weights of a loaded pipeline, as they would be in ``dtype``."""
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    item = torch.empty(0, dtype=dtype).element_size()
    return sum(
        tensor.numel() * (item if tensor.is_floating_point() else tensor.element_size())
        for part in parts
        for tensor in part.state_dict().values()
    )


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_a_folder_is_what_is_loaded_from_it(folders, name, dtype):
    folder = folders(name)
    card = look_up(str(folder), dtype=dtype)
    loaded = loading.load(find_source(str(folder)), folder, "cpu", dtype)
    assert card.pipeline == type(loaded.pipe).__name__
    assert card.size == (loaded.info.width, loaded.info.height)
    assert card.dtype == dtype
    # A head that transformers leaves out of its own state may be in the file, and the other way round.
    assert card.weight_bytes == pytest.approx(
        memory(loaded.pipe, getattr(torch, dtypes.DTYPES[dtype])), rel=0.05
    )
    assert (card.on_disk, card.download_bytes, card.known_class, card.problem) == (True, 0, True, None)
    assert card.id == str(folder.resolve())


def test_the_embedded_model():
    card = diffatlas.look_up("shapes")
    assert (card.id, card.pipeline, card.size) == ("shapes", "StableDiffusionPipeline", (64, 64))
    assert (card.licence, card.gated, card.on_disk, card.steps, card.guidance) == (
        "mit",
        False,
        True,
        30,
        3.0,
    )
    assert "64 × 64 pixels" in card.sentence
    assert "on this machine" in card.line


def test_a_model_of_the_hub_is_what_its_folder_is(hub, folders, sd_folder):
    hub.add(NAME, sd_folder, cardData={"license": "openrail++"}, gated=False)
    card, there = look_up(NAME), look_up(str(sd_folder))
    same = ("pipeline", "size", "dtype", "weight_bytes", "known_class", "problem", "steps", "guidance")
    assert [getattr(card, name) for name in same] == [getattr(there, name) for name in same]
    assert (card.id, card.name, card.licence, card.gated) == (NAME, "Model-1", "openrail++", False)
    assert (card.on_disk, card.download_bytes > card.weight_bytes) == (False, True)
    assert "have to be downloaded" in card.sentence
    # No more of the weights than their beginnings was sent, and nothing is kept.
    weights = sum(len(d) for n, d in hub.repos[NAME].items() if n.endswith(".safetensors"))
    assert hub.sent(".safetensors") <= 3 * 100_001 < weights
    assert not Path(huggingface_hub.constants.HF_HUB_CACHE).exists()


def test_the_variant_and_the_subfolder_that_are_asked(hub, sd_folder, sd_pipe, tmp_path):
    copy.deepcopy(sd_pipe).to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    hub.add(NAME, sd_folder)
    hub.add(NAME, tmp_path / "half")
    hub.add(NAME, sd_folder, under="in/side/")
    plain, half, below = look_up(NAME), look_up(NAME, variant="fp16"), look_up(NAME, subfolder="in/side")
    assert plain.weight_bytes == half.weight_bytes == below.weight_bytes
    assert half.download_bytes < 0.6 * plain.download_bytes
    assert below.size == plain.size
    assert (half.variant, below.subfolder) == ("fp16", "in/side")
    with pytest.raises(UnknownModel, match=r"in its subfolder else/where is not"):
        look_up(NAME, subfolder="else/where")


SHOW = """
import json, sys
import huggingface_hub
from pathlib import Path
from diffatlas.backends import dtypes, loading
from diffatlas.backends.look_up import look_up
from diffatlas.backends.model_info import find_source
for name, asked in json.loads(sys.argv[1]).items():
    before = look_up(name, **asked)
    folder = loading.fetch(find_source(name, **asked))
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE, "models--" + name.replace("/", "--"))
    fetched = sum(p.stat().st_size for p in cache.rglob("blobs/*"))
    after = look_up(name, **asked)
    print(json.dumps([before.download_bytes, fetched, after.on_disk, after.download_bytes, folder.as_posix()]))
"""


def test_what_it_says_is_to_be_downloaded_is_what_is_downloaded(hub, sd_folder, tmp_path):
    """In a process of its own: the Hub's client reads its address once."""
    asked, sizes = {NAME: {}, "some/Model-2": {"subfolder": "a"}}, []
    for name, how in asked.items():
        files = hub.add(name, sd_folder, under=f"{how['subfolder']}/" if how else "")
        hub.repos[name] |= {"unet/diffusion_pytorch_model.bin": b"x" * 1000, "picture.png": b"x" * 1000}
        sizes.append(sum(map(len, files.values())))
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SHOW, json.dumps(asked)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for size, line in zip(sizes, done.stdout.splitlines()[-2:], strict=True):
        said, fetched, on_disk, left, folder = json.loads(line)
        assert said == pytest.approx(fetched, abs=20_000)
        assert fetched > 0.9 * size
        assert (on_disk, left) == (True, 0)
        assert COMMIT in folder


def test_a_licence_to_accept(hub, sd_folder):
    told = {"gated": "auto", "cardData": {"license": "other", "license_name": "their-own"}}
    hub.add(NAME, sd_folder, **told)
    hub.gated[NAME] = "hf_secret"
    with pytest.raises(
        ModelLoadError, match=f"has to be accepted at https://huggingface.co/{NAME}"
    ) as caught:
        look_up(NAME)
    assert "\n" not in caught.value.message
    card = look_up(NAME, token="hf_secret")
    assert (card.gated, card.licence) == (True, "their-own")
    assert "(their-own) has to be accepted" in card.sentence
    assert "hf_secret" not in repr(card)


def test_what_the_hub_does_not_have(hub, sd_folder):
    hub.add(NAME, sd_folder)
    with pytest.raises(UnknownModel, match="has no model 'some/Other'"):
        look_up("some/Other")
    with pytest.raises(UnknownModel, match="did you mean 'stabilityai/sdxl-turbo'"):
        look_up("stabilityai/sdxl-turb")
    with pytest.raises(ModelLoadError, match="no revision 'v9'") as caught:
        look_up(NAME, revision="v9")
    assert caught.value.field == "revision"
    hub.repos["some/text"] = {"config.json": b"{}", "deep/er/model_index.json": b"{}"}
    hub.told["some/text"] = {}
    with pytest.raises(UnknownModel, match=r"not a diffusers pipeline: .*\(deep/er\) as subfolder"):
        look_up("some/text")


def test_a_hub_that_cannot_be_reached(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelLoadError, match=r"could not be asked about it .*: check the network") as caught:
        look_up(NAME)
    assert "\n" not in caught.value.message
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelLoadError, match="HF_HUB_OFFLINE is set"):
        look_up(NAME)


@pytest.mark.parametrize("content", [b"no json", b"[]", b'{"_class_name": "A", "scheduler": ["a", "b"]}'])
def test_a_damaged_index_is_one_sentence(hub, sd_folder, content):
    hub.add(NAME, sd_folder)
    hub.repos[NAME] = {"model_index.json": content}
    with pytest.raises(ModelLoadError) as caught:
        look_up(NAME)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("cls", "known", "words"),
    [
        ("NextYearsPipeline", False, "update diffusers"),
        ("TextToVideoSDPipeline", True, "makes no image of a text"),
    ],
)
def test_what_will_not_run_is_said(hub, sd_folder, cls, known, words):
    hub.add(NAME, sd_folder)
    index = json.loads(hub.repos[NAME]["model_index.json"])
    hub.repos[NAME]["model_index.json"] = json.dumps(index | {"_class_name": cls}).encode()
    card = look_up(NAME)
    assert (card.known_class, card.steps) == (known, None)
    assert words in card.problem
    assert card.sentence.endswith(card.problem)


def test_names_of_files_do_not_lead_out_of_the_room(hub, sd_folder, tmp_path):
    hub.add(NAME, sd_folder, cardData={"license": "<b>mine</b>"})
    hub.repos[NAME] |= {"../../escaped.json": b"{}", f"{tmp_path}/escaped.json": b"{}"}
    card = look_up(NAME)
    assert card.licence is None
    assert not list(tmp_path.rglob("escaped*"))


def test_a_card_becomes_a_line_of_the_registry(hub, sd_folder):
    hub.add(NAME, sd_folder)
    card = look_up(NAME, revision=COMMIT)
    entry = card.entry(name="Theirs", steps=12)
    assert parse_line(line_of(entry)) == entry
    assert (entry.name, entry.steps, entry.guidance, entry.size) == ("Theirs", 12, 7.5, card.size[0])
    assert entry.mem * 1e9 == pytest.approx(card.weight_bytes, abs=1e7)
    add_model(entry)
    assert look_up(NAME).revision == COMMIT
    assert look_up(NAME).name == "Theirs"


def test_a_folder_with_a_space_is_kept_by_its_whole_path(sd_folder, tmp_path, monkeypatch):
    (tmp_path / "my models").mkdir()
    (tmp_path / "my models" / "mine").symlink_to(sd_folder)
    monkeypatch.chdir(tmp_path)
    entry = look_up("my models/mine").entry()
    assert Path(entry.id).is_absolute()
    assert parse_line(line_of(entry)) == entry


@pytest.mark.parametrize(
    ("size", "words"),
    [(6_938_000_000, "6.9 GB"), (52_400_000, "52 MB"), (10, "1 MB"), (999_600_000, "1000 MB")],
)
def test_sizes_in_words(size, words):
    assert size_words(size) == words


def test_an_entry_without_a_hint_takes_the_pipelines_own(sd_folder):
    add_model(ModelEntry(str(sd_folder.resolve()), "Mine", guidance=0.0))
    card = look_up(str(sd_folder.resolve()))
    assert (card.name, card.steps, card.guidance) == ("Mine", 50, 0.0)
