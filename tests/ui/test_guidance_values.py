"""The guidance values that a form offers for a model."""

from __future__ import annotations

import json

import pytest

from diffatlas.backends.guidable import guidance_kind
from diffatlas.backends.parts import FolderParts
from diffatlas.registry import ModelEntry, find_model, models_folder
from diffatlas.ui.guidance_values import guidance_html, guidance_values, kind_of


def about(kind, own):
    return {value.scale: value.about for value in guidance_values(kind, own)}


def test_values_of_a_model_that_mixes_two_predictions():
    found = about("mixed", 3.0)
    assert list(found) == [1, 3, 7.5, 12, 20]
    assert "off" in found[1]
    assert found[3] == "This model’s usual value."
    assert len(set(found.values())) == 5
    assert all(text.endswith(".") and text.count(". ") == 0 for text in found.values())
    # Its own stands in place of one that is as good as the same.
    assert list(about("mixed", 7.0)) == [1, 3, 7, 12, 20]
    assert about("mixed", None)[7.5] == "The usual value."


def test_a_number_that_the_model_reads_itself_is_not_off_at_1():
    found = about("input", 3.5)
    assert list(found) == [2, 3.5, 5, 7]
    assert not any("1 is off" in text for text in found.values())
    assert "1 is not off" in found[3.5]


@pytest.mark.parametrize(("kind", "own"), [("none", 3.5), ("mixed", 0.0), (None, 1.0)])
def test_none_where_the_model_runs_without(kind, own):
    assert guidance_values(kind, own) == ()
    html = guidance_html("field", ModelEntry("a", "A", guidance=own), kind)
    assert "data-guide" not in html
    assert "without guidance" in html


def test_before_a_model_is_here_nothing_is_claimed_of_how_it_is_guided():
    assert not any("off" in text or "reads" in text for text in about(None, 8.0).values())


@pytest.mark.parametrize("model", ["shapes", "shapes-dit"])
def test_the_embedded_models_mix(model):
    assert kind_of(model) == "mixed"
    assert f'data-guide="{find_model(model).guidance:g}"' in guidance_html(
        "field", find_model(model), "mixed"
    )


@pytest.mark.parametrize(
    ("index", "part", "config", "kind"),
    [
        ("FluxPipeline", "transformer", {"guidance_embeds": True}, "input"),
        ("FluxPipeline", "transformer", {"guidance_embeds": False}, "none"),
        ("LatentConsistencyModelPipeline", "unet", {"time_cond_proj_dim": 256}, "input"),
        ("StableDiffusionPipeline", "unet", {}, "mixed"),
        ("NoSuchPipeline", "unet", {}, None),
    ],
)
def test_the_kind_is_read_from_configs(tmp_path, index, part, config, kind):
    (tmp_path / part).mkdir()
    (tmp_path / part / "config.json").write_text(json.dumps(config))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": index}))
    assert guidance_kind(FolderParts(tmp_path)) == kind
    assert guidance_kind(FolderParts(models_folder() / "nowhere")) is None
