"""What of attention is asked for: which request stands for which, and which layers it means."""

from __future__ import annotations

from itertools import pairwise, product
from types import SimpleNamespace

import pytest

from diffatlas.capture.attention_layers import attention_layers, chosen_layers, matches, spread
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams

STEPS = 13
LAYERS = {
    "down_blocks.0.attn1": "down",
    "down_blocks.0.attn2": "down",
    "mid_block.attn1": "mid",
    "mid_block.attn2": "mid",
}


def kept(capture: Capture) -> set[tuple]:
    """Everything that a run of STEPS steps holds of LAYERS, each with what decides its numbers."""
    return {
        (
            index,
            name,
            kind,
            half,
            capture.attention_heads,
            capture.attention_resolution if kind == "self" else None,
        )
        for index in range(STEPS)
        if capture.wants_attention(index, STEPS)
        for name, block in LAYERS.items()
        if matches(name, block, capture.attention_layers)
        for kind in capture.attention_kinds
        for half in (("cond", "uncond") if capture.attention_halves == "both" else ("cond",))
    }


def test_a_capture_covers_what_it_holds_all_of() -> None:
    captures = [
        Capture(
            attention=kind,
            attention_every=every,
            attention_heads=heads,
            attention_halves=halves,
            attention_resolution=resolution,
        )
        for kind, every, heads, halves, resolution in product(
            ("off", "cross", "self", "all"), (1, 2, 3, 4), ("mean", "each"), ("cond", "both"), (16, 32)
        )
    ]
    for more, less in product(captures, captures):
        # What is in both is what both would read; every fourth step is never fewer than every second.
        assert more.covers(less) == (kept(more) >= kept(less)), (more, less)


def test_all_layers_cover_those_of_a_name_and_a_number_covers_itself() -> None:
    everything, mid = Capture(attention="all"), Capture(attention="cross", attention_layers=("mid",))
    few = Capture(attention="cross", attention_max_layers=2)
    assert everything.covers(mid)
    assert kept(everything) > kept(mid) != set()
    assert not mid.covers(everything)
    assert not everything.covers(few)
    assert not few.covers(Capture(attention="cross"))
    assert few.covers(few)
    assert few.covers(Capture())


def test_without_attention_a_capture_says_nothing_of_it() -> None:
    assert not [name for name in Capture(attention_every=3).to_dict() if "attention" in name]
    capture = Capture(attention="all", attention_layers=("mid", "up_blocks.*"), attention_every=2)
    assert capture.to_dict()["attention_layers"] == ["mid", "up_blocks.*"]
    assert Capture.from_dict(capture.to_dict()) == capture


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attention", "some"),
        ("attention_heads", "two"),
        ("attention_halves", "uncond"),
        ("attention_every", 0),
        ("attention_every", True),
        ("attention_max_layers", 0),
        ("attention_resolution", 1.5),
        ("attention_layers", "mid"),
        ("attention_layers", ()),
    ],
)
def test_bad_fields_are_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidParams, match=field) as caught:
        Capture(**{field: value})
    assert caught.value.field == field


def denoiser(names: list[str], **more: object) -> SimpleNamespace:
    attention = SimpleNamespace(heads=2, processor=None)
    other = SimpleNamespace(heads=2)
    named = [(name, attention) for name in names] + [("norm", other), ("norm.heads", SimpleNamespace())]
    return SimpleNamespace(named_modules=lambda: named, **more)


UNET = [
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2",
    "up_blocks.1.attentions.0.transformer_blocks.0.attn1",
    "up_blocks.1.attentions.0.transformer_blocks.0.attn2",
    "mid_block.attentions.0.transformer_blocks.0.attn1",
    "mid_block.attentions.0.transformer_blocks.0.attn2",
]
FLUX = [f"transformer_blocks.{i}.attn" for i in range(3)] + [
    f"single_transformer_blocks.{i}.attn" for i in range(4)
]


def test_layers_come_in_the_order_in_which_they_run() -> None:
    layers = attention_layers([denoiser(UNET, mid_block=None)])
    assert [layer.block for layer in layers] == ["down", "down", "mid", "mid", "up", "up"]
    assert [layer.block for layer in attention_layers([denoiser(FLUX)])] == list(range(7))
    two = attention_layers([denoiser(FLUX), denoiser(FLUX)])
    assert len({layer.name for layer in two}) == 14


@pytest.mark.parametrize(
    ("names", "patterns", "found"),
    [
        (UNET, ("mid",), UNET[4:]),
        (UNET, ("*.attn2",), [UNET[1], UNET[5], UNET[3]]),
        (UNET, ("up_blocks.1", "down"), [*UNET[:2], *UNET[2:4]]),
        (FLUX, ("blocks.3",), [FLUX[3]]),
        (FLUX, ("transformer_blocks.1",), [FLUX[1]]),
        (FLUX, ("single_*",), FLUX[3:]),
        (FLUX, ("mid",), []),
    ],
)
def test_layers_are_chosen_by_part_place_and_name(
    names: list[str], patterns: tuple, found: list[str]
) -> None:
    more = {"mid_block": None} if names is UNET else {}
    layers = attention_layers([denoiser(names, **more)])
    assert [layer.name for layer in chosen_layers(layers, patterns, None)] == found


def test_a_number_of_layers_is_spread_over_the_whole_depth() -> None:
    layers = attention_layers([denoiser(UNET, mid_block=None)])
    chosen = chosen_layers(layers, None, 2)
    assert [(layer.block, layer.name[-5:]) for layer in chosen] == [
        ("down", "attn1"),
        ("down", "attn2"),
        ("up", "attn1"),
        ("up", "attn2"),
    ]
    assert {layer.block for layer in chosen_layers(layers, None, 1)} == {"mid"}
    for count, most in product(range(1, 40), range(1, 12)):
        places = spread(range(count), most)
        assert len(set(places)) == len(places) == min(count, most)
        if 1 < most <= count:
            assert (places[0], places[-1]) == (0, count - 1)
            assert max(b - a for a, b in pairwise(places)) <= -(-(count - 1) // (most - 1))
