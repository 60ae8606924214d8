"""The menu of models says of each, before it is chosen, whether it has to be downloaded, and how large that is."""

from __future__ import annotations

import huggingface_hub.constants
import pytest

from diffatlas.registry import ModelEntry, find_model, list_models
from diffatlas.ui.chosen_model import where
from diffatlas.ui.components.fields import model_choices
from diffatlas.ui.components.study_form import lane_choices


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))


def test_every_row_says_where_its_model_is():
    models = list_models("local")
    labels = {name: label for label, name in model_choices(models)}
    assert labels["shapes"] == "Shapes (embedded) · on this machine"
    assert labels["SimianLuo/LCM_Dreamshaper_v7"] == "LCM Dreamshaper 7 · to be downloaded, 4.3\u00a0GB"
    for entry in models[2:]:
        size = f"{entry.download:g}\u00a0GB" if entry.download else "of unknown size"
        assert labels[entry.id] == f"{entry.name} · to be downloaded, {size}"
    lanes = {value: label for label, value in lane_choices(models, "shapes", None)}
    assert lanes["model=stabilityai/sd-turbo"] == "Model: SD-Turbo · to be downloaded, 2.6\u00a0GB"


def test_what_is_fetched_is_no_smaller_than_what_it_takes_in_memory():
    """The files are in the dtype that the model runs in, or in a wider one."""
    for entry in list_models("local"):
        if entry.download is not None:
            assert entry.download >= 0.97 * entry.mem, entry.id


def test_a_size_that_nobody_looked_up_is_not_made_up():
    entry = find_model("Tongyi-MAI/Z-Image-Turbo")
    assert entry.mem is not None
    assert entry.download is None
    assert where(entry) == "to be downloaded, of unknown size"


def test_a_pipeline_in_memory_and_a_model_of_which_something_is_wrong():
    assert where(ModelEntry("mine", "Mine", provider="memory")) == "in memory"
    assert where(ModelEntry("gone/for/good", "Gone")) == ""
