"""The model that a form names: of the list, of the Hub, or a folder."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry, add_model, find_model, models_folder, own_models
from diffatlas.ui import chosen_model
from diffatlas.ui.chosen_model import choose, keep_or_remove, loading_words
from tests.model_hub import serve

NAME = "some-body/their-model"


@pytest.fixture(autouse=True)
def personal(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "models.md"))
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    monkeypatch.setenv("DIFFATLAS_DEVICE", "cpu")
    monkeypatch.setattr(chosen_model, "_cards", {})


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = huggingface_hub.constants
    with serve() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        hub.add(NAME, models_folder() / "shapes", cardData={"license": "mit"})
        yield hub


@pytest.fixture
def folder() -> str:
    return str((models_folder() / "shapes-dit").resolve())


def test_a_listed_model_is_as_the_list_says():
    chosen = choose("shapes")
    assert chosen.entry == find_model("shapes")
    assert (chosen.line, chosen.action) == (chosen.entry.notes, "")
    assert chosen.info.width == 64


def test_a_model_says_how_it_is_put_on_the_device(folder, monkeypatch, tmp_path):
    add_model(ModelEntry(folder, "Mine", vae="tiling", compile="blocks"))
    words = "Its VAE works on large pictures in tiles. Its denoiser is compiled: the first run takes a minute or more"
    assert words in choose(folder).line
    # Of the list that ships, which an installation may have in a folder of its own.
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "local.md").write_text(f"{folder} | Ours | Fast. compile=blocks\n")
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path / "list"))
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "none.md"))
    line = choose(folder).line
    assert line == (
        "Fast. Its denoiser is compiled: the first run takes a minute or more longer, and attention cannot be read."
    )


def test_a_listed_model_that_is_not_here_says_what_its_first_run_downloads(hub):
    for name, size in (
        ("stabilityai/sd-turbo", "about 2.6 GB"),
        ("SimianLuo/LCM_Dreamshaper_v7", "about 4.3 GB"),
        ("Tongyi-MAI/Z-Image-Turbo", "of a size that is not known"),
    ):
        chosen = choose(name)
        assert chosen.line.endswith(f"Not on this machine: the first run downloads it, {size}.")
        assert chosen.action == ""
    # Choosing fetches nothing, and asks the Hub nothing.
    assert not hub.calls


def test_a_folder_is_looked_up_kept_and_removed(folder):
    chosen = choose(f"  {folder} ")
    assert (chosen.action, chosen.entry.size, chosen.info.width) == ("Keep", 64, 64)
    assert "StableDiffusion3Pipeline, 64 × 64 pixels" in chosen.line
    # As its scheduler says, not as a list: the form offers those.
    assert chosen.info.schedulers[0] == "flow_euler"
    assert keep_or_remove(folder) == folder
    kept = choose(folder)
    assert (kept.action, [entry.id for entry in own_models()]) == ("Remove", [folder])
    assert kept.line == chosen.line
    assert keep_or_remove(folder) == folder
    assert (choose(folder).action, own_models()) == ("Keep", [])


def test_a_model_of_the_hub_is_asked_about_once(hub):
    chosen = choose(NAME)
    assert (chosen.action, chosen.info.width) == ("Keep", 64)
    assert "to download. Licence: mit." in chosen.line
    asked = len(hub.calls)
    assert asked > 0
    assert choose(NAME) == chosen
    keep_or_remove(NAME)
    assert choose(NAME).entry.provider == "user"
    assert len(hub.calls) == asked


def test_what_cannot_run_is_an_error_that_names_the_field(hub, monkeypatch):
    hub.repos[NAME]["model_index.json"] = hub.repos[NAME]["model_index.json"].replace(
        b"StableDiffusionPipeline", b"NextYearsPipeline"
    )
    for model in (NAME, "some-body/nothing", "/no/where", "", None, "shape"):
        with pytest.raises(DiffAtlasError) as caught:
            choose(model)
        assert caught.value.field == "model"
        with pytest.raises(DiffAtlasError):
            keep_or_remove(model)
    assert own_models() == []


def test_a_kept_model_stays_where_the_network_goes(hub, monkeypatch):
    keep_or_remove(NAME)
    monkeypatch.setattr(chosen_model, "_cards", {})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    chosen = choose(NAME)
    assert chosen.action == "Remove"
    assert "HF_HUB_OFFLINE" in chosen.line


def test_a_stranger_has_the_list_and_no_more(monkeypatch, folder):
    keep_or_remove(folder)
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    asked = []
    monkeypatch.setattr(chosen_model, "look_up", asked.append)
    for model in (folder, NAME, str(Path(folder).parent)):
        for act in (choose, keep_or_remove):
            with pytest.raises(InvalidParams, match="On a shared server") as caught:
                act(model)
            assert caught.value.field == "model"
    assert choose("shapes").action == ""
    with pytest.raises(DiffAtlasError, match="shared"):
        keep_or_remove("shapes")
    assert asked == []


def test_the_words_for_loading_are_true(hub, folder, monkeypatch):
    idle = SimpleNamespace(is_loaded=lambda model: False)
    busy = SimpleNamespace(is_loaded=lambda model: True)

    def words(model, backend=idle, **more):
        return loading_words(GenerationParams(model=model, prompt="x", **more), backend)

    assert words("shapes") == "Loading Shapes (embedded) from this machine…"
    assert words(folder) == "Loading shapes-dit from this machine…"
    size = sum(len(data) for name, data in hub.repos[NAME].items() if name.endswith(".safetensors"))
    assert words(NAME) == f"Loading their-model: first time from the Hub, about {size / 1e6:.0f} MB…"
    assert words("shapes", busy) == "Starting…"
    assert words("shapes", object()).startswith("Loading Shapes")
    # Another revision is not what is resident; what is wrong is for the run to say.
    assert words(NAME, busy, revision="v9") == "Loading the model…"
    assert words("nobodys") == "Loading the model…"


def test_what_the_hub_said_is_asked_again_after_a_while(hub, monkeypatch):
    choose(NAME)
    asked = len(hub.calls)
    now = time.monotonic()
    monkeypatch.setattr(chosen_model.time, "monotonic", lambda: now + chosen_model.BELIEVED_SECONDS + 1)
    choose(NAME)
    assert len(hub.calls) > asked
