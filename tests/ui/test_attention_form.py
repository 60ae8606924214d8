"""From the fields of the Attention page to what is captured."""

from __future__ import annotations

import pytest

from diffatlas.errors import InvalidParams
from diffatlas.registry import find_model
from diffatlas.ui.components.attention_form import kind_for, to_watching


def watching(**changes):
    values = {
        "previews": "every", "preview_decoder": "vae", "kind": "all", "heads": "mean", "halves": "cond",
        "every": 1.0, "most_layers": None, "layers": "",
    }  # fmt: skip
    return to_watching({**values, **changes})


def test_fields_become_a_capture():
    found = watching(kind="cross", heads="each", halves="both", every=3.0, most_layers=4.0)
    assert (found.attention, found.attention_heads, found.attention_halves) == ("cross", "each", "both")
    assert (found.attention_every, found.attention_max_layers, found.attention_layers) == (3, 4, None)
    assert (found.previews, found.preview_decoder) == ("every", "vae")


def test_layers_are_named_with_commas_or_blanks():
    assert watching(layers=" mid, up_blocks.1.*  down").attention_layers == ("mid", "up_blocks.1.*", "down")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "off"}, "attention"),
        ({"kind": None}, "attention"),
        ({"every": 0.0}, "attention_every"),
        ({"every": 1.5}, "attention_every"),
        ({"every": None}, "attention_every"),
        ({"most_layers": 0.0}, "attention_max_layers"),
        ({"heads": "some"}, "attention_heads"),
    ],
)
def test_what_cannot_be_captured_is_refused_by_name(change, field):
    with pytest.raises(InvalidParams) as caught:
        watching(**change)
    assert caught.value.field == field


def test_places_are_captured_at_first_only_where_pictures_are_small():
    assert kind_for(find_model("shapes")) == "all"
    assert kind_for(find_model("stabilityai/stable-diffusion-xl-base-1.0")) == "cross"
