"""Attention is read as the model computes it, and the image stays the same to the bit."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from diffatlas.errors import CapabilityError
from tests.pipelines import arguments

ALL = Capture(attention="all")
PIPELINES = ["sd", "sdxl", "sd3", "flux", "flux_cfg", "pixart", "qwen", "flux2", "zimage"]


def watch(pipe: Any, capture: Capture, **request_: Any) -> tuple[Any, np.ndarray]:
    with observe(pipe, capture) as trace:
        images = pipe(**arguments(pipe, **request_)).images
    return trace, images


@contextmanager
def materialised() -> Iterator[list[np.ndarray]]:
    """Collect the whole matrices (rows, heads, S, M) of every attention call, in float64, computed apart."""
    attend = torch.nn.functional.scaled_dot_product_attention
    found: list[np.ndarray] = []

    def spy(query: Any, key: Any, value: Any, attn_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        q, k = query.double().numpy(), key.double().numpy()
        scale = kwargs.get("scale") or 1 / math.sqrt(q.shape[-1])
        logits = np.einsum("bhsd,bhmd->bhsm", q, k) * scale
        if attn_mask is not None:
            mask = attn_mask.numpy()
            logits = np.where(mask, logits, -np.inf) if mask.dtype == bool else logits + mask
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        found.append(shares / shares.sum(-1, keepdims=True))
        return attend(query, key, value, attn_mask, *args, **kwargs)

    torch.nn.functional.scaled_dot_product_attention = spy
    try:
        yield found
    finally:
        torch.nn.functional.scaled_dot_product_attention = attend


def of_denoiser(pipe: Any, **request_: Any) -> list[np.ndarray]:
    """Return the matrices of the denoiser's attention layers in one plain call, in the order in which they run."""
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    spans: list[tuple[int, int]] = []
    with materialised() as found:
        hooks = [
            denoiser.register_forward_pre_hook(lambda *_: spans.append((len(found), 0))),
            denoiser.register_forward_hook(lambda *_: spans.append((spans.pop()[0], len(found)))),
        ]
        try:
            pipe(**arguments(pipe, **request_))
        finally:
            for hook in hooks:
                hook.remove()
    return [matrix for first, last in spans for matrix in found[first:last]]


def named(pipe: Any) -> list[str]:
    """The attention layers of a small UNet or transformer in the order in which they run, by their modules' calls."""
    denoiser, order = getattr(pipe, "unet", None) or pipe.transformer, []
    names = [name for name, module in denoiser.named_modules() if hasattr(module, "processor")]
    hooks = [
        denoiser.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: order.append(name))
        for name in names
    ]
    pipe(**arguments(pipe, steps=1, guided=False))
    for hook in hooks:
        hook.remove()
    return order[: len(names)]


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("name", PIPELINES)
def test_image_is_bit_identical(name: str, guided: bool, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    call = {
        "guided": guided,
        "prompts": ("a red circle", "two stars"),
        "width": 96,
        "height": 64,
        "steps": 3,
    }
    plain = pipe(**arguments(pipe, **call)).images
    trace, images = watch(pipe, replace(ALL, attention_resolution=4, attention_halves="both"), **call)
    np.testing.assert_array_equal(images, plain)
    kinds = {key.partition(":")[0] for key in trace.steps[0].attention}
    assert kinds == {"cross", "self"}
    for step in trace.steps:
        for key, maps in step.attention.items():
            assert maps.dtype == np.float16
            assert np.isfinite(maps).all()
            assert maps.max() > 0
            # FLUX with embedded guidance makes one pass.
            assert maps.shape[:2] == (2 if guided and name != "flux" else 1, 2)
            assert maps.shape[-2] < maps.shape[-1], key


@pytest.mark.parametrize("resolution", [16, 8, 3])
def test_unet_maps_are_those_of_the_whole_matrices(sd_pipe: Any, resolution: int) -> None:
    call = {"steps": 2, "width": 80, "height": 48, "prompts": ("a red circle", "two stars")}
    whole = of_denoiser(sd_pipe, **call)
    order = named(sd_pipe)
    capture = replace(ALL, attention_resolution=resolution, attention_halves="both")
    trace, _ = watch(sd_pipe, capture, **call)
    assert len(whole) == 2 * len(order)
    for index, step in enumerate(trace.steps):
        assert {key.partition(":")[2] for key in step.attention} == set(order)
        for layer, matrix in zip(order, whole[index * len(order) :], strict=False):
            # Both halves share the call: the unconditional one first.
            mean = matrix.mean(1).reshape(2, 2, *matrix.shape[2:])[::-1]
            rows, columns = {240: (12, 20), 60: (6, 10)}[matrix.shape[2]]
            if layer.endswith("attn2"):
                expected = mean.swapaxes(-1, -2).reshape(2, 2, 77, rows, columns)
                got = step.attention[f"cross:{layer}"]
            else:
                expected = pooled(mean.reshape(2, 2, rows, columns, rows, columns), -(-columns // resolution))
                got = step.attention[f"self:{layer}"]
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, atol=2e-4, rtol=2e-3)


def pooled(maps: np.ndarray, size: int) -> np.ndarray:
    """Average queries and sum keys over cells, one cell at a time."""
    *before, rows, columns, _, _ = maps.shape
    cells = [
        (slice(y, y + size), slice(x, x + size))
        for y in range(0, rows, size)
        for x in range(0, columns, size)
    ]
    tall, wide = -(-rows // size), -(-columns // size)
    out = np.empty((*before, len(cells), len(cells)))
    for i, (y, x) in enumerate(cells):
        for j, (v, u) in enumerate(cells):
            out[..., i, j] = maps[..., y, x, v, u].sum((-1, -2)).mean((-1, -2))
    return out.reshape(*before, tall, wide, tall, wide)


def test_cross_shares_add_up_to_one_over_tokens_and_self_over_places(sd_pipe: Any) -> None:
    trace, _ = watch(sd_pipe, replace(ALL, attention_resolution=5), steps=1)
    for key, maps in trace.steps[0].attention.items():
        total = (
            maps.astype(np.float64).sum(1)
            if key.startswith("cross")
            else maps.astype(np.float64).sum((-1, -2))
        )
        np.testing.assert_allclose(total, 1.0, atol=5e-3)


#: Where the text is in the joint sequence, as each model's paper and code have it, and its length here.
JOINT = {
    "sd3": ("last", 77 + 16),
    "flux": ("first", 16),
    "flux_cfg": ("first", 16),
    "qwen": ("first", 6),
    "flux2": ("first", 6),
}


@pytest.mark.parametrize("resolution", [32, 6, 5])
@pytest.mark.parametrize("name", JOINT)
def test_joint_attention_is_split_into_text_and_image(
    name: str, resolution: int, request: pytest.FixtureRequest
) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    where, text = JOINT[name]
    call = {"steps": 1, "width": 96, "height": 64}
    order, whole = named(pipe), of_denoiser(pipe, **call)
    capture = replace(ALL, attention_halves="both", attention_resolution=resolution)
    trace, _ = watch(pipe, capture, **call)
    calls = len(whole) // len(order)
    halves = []
    for i in range(calls):
        of_call = [matrix.mean(1) for matrix in whole[i * len(order) :][: len(order)]]
        halves += [*np.swapaxes(of_call, 0, 1)]
    if calls == 1:
        halves.reverse()  # One call on a doubled batch has the unconditional half first.
    kept = trace.steps[0].attention
    rows, columns = 8, 12
    assert {d["joint"] for d in trace.latent_provenance["attention"]["layers"]} == {True}
    for position, layer in enumerate(order):
        cross, own = kept[f"cross:{layer}"], kept[f"self:{layer}"]
        assert len(cross) == len(own) == len(halves)
        for half, matrices in enumerate(halves):
            matrix = matrices[position]
            tokens, places = (
                (slice(text), slice(text, None)) if where == "first" else (slice(-text, None), slice(-text))
            )
            expected = matrix[places, tokens].T.reshape(text, rows, columns)
            np.testing.assert_allclose(cross[half, 0], expected, atol=2e-4, rtol=2e-3)
            expected = pooled(
                matrix[places, places].reshape(rows, columns, rows, columns), -(-columns // resolution)
            )
            np.testing.assert_allclose(own[half, 0], expected, atol=2e-4, rtol=2e-3)
            if resolution == 32:
                both = cross[half, 0].sum(0, dtype=np.float64) + own[half, 0].sum((-1, -2), dtype=np.float64)
                np.testing.assert_allclose(both, 1.0, atol=5e-3)


@pytest.mark.parametrize(("name", "text", "size"), [("flux", 16, (32, 32)), ("qwen", 6, (24, 16))])
def test_text_and_image_of_one_length_are_told_apart(
    name: str, text: int, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    """Lengths cannot tell which is which: what was made of the text does."""
    pipe = request.getfixturevalue(f"{name}_pipe")
    call = {"steps": 1, "guided": False, "width": size[0], "height": size[1]}
    order, whole = named(pipe), of_denoiser(pipe, **call)
    trace, _ = watch(pipe, ALL, **call)
    rows, columns = size[1] // 8, size[0] // 8
    assert rows * columns == text
    for layer, matrix in zip(order, whole, strict=True):
        expected = matrix.mean(1)[0, text:, :text].T.reshape(text, rows, columns)
        np.testing.assert_allclose(
            trace.steps[0].attention[f"cross:{layer}"][0], expected, atol=2e-4, rtol=2e-3
        )


def test_a_text_of_unknown_length_is_found_behind_the_image(zimage_pipe: Any) -> None:
    """Z-Image is given lists, pads each sample's text to 32 tokens, and joins them one by one."""
    call = {"steps": 1, "guided": False, "width": 96, "height": 64}
    order, whole = named(zimage_pipe), of_denoiser(zimage_pipe, **call)
    trace, _ = watch(zimage_pipe, ALL, **call)
    kept = trace.steps[0].attention
    for layer, matrix in zip(order, whole, strict=True):
        mean = matrix.mean(1)[0]
        if layer.startswith("layers"):
            expected = mean[:96, 96:].T.reshape(32, 8, 12)
            np.testing.assert_allclose(kept[f"cross:{layer}"][0], expected, atol=2e-4, rtol=2e-3)
        if not layer.startswith("context"):
            expected = mean[:96, :96].reshape(8, 12, 8, 12)
            np.testing.assert_allclose(kept[f"self:{layer}"][0], expected, atol=2e-4, rtol=2e-3)
    assert not [key for key in kept if "context" in key]


def test_masked_tokens_of_pixart_get_nothing(pixart_pipe: Any) -> None:
    call = {"steps": 1, "width": 96, "height": 64}
    order, whole = named(pixart_pipe), of_denoiser(pixart_pipe, **call)
    trace, _ = watch(pixart_pipe, ALL, **call)
    for layer, matrix in zip(order, whole, strict=True):
        kind = "cross" if layer.endswith("attn2") else "self"
        got = trace.steps[0].attention[f"{kind}:{layer}"][0].reshape(-1, 96)
        expected = matrix.mean(1)[1]
        if kind == "cross":
            expected = expected.T
            assert (expected.max(1) == 0).any()  # Some of the tokens are padding.
            np.testing.assert_array_equal(got.max(1) == 0, expected.max(1) < 3e-8)
        np.testing.assert_allclose(got, expected, atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("name", ["sd", "sd3", "flux_cfg"])
def test_the_conditional_half_is_the_one_for_the_prompt(name: str, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    both, _ = watch(pipe, replace(ALL, attention_halves="both"), steps=3)
    # Without the predictions, which half it is must still be found.
    cond, _ = watch(pipe, replace(ALL, predictions=False, metrics=False), steps=3)
    for one, two in zip(cond.steps, both.steps, strict=True):
        assert one.attention.keys() == two.attention.keys()
        for key, maps in one.attention.items():
            np.testing.assert_array_equal(maps, two.attention[key][0])
            if key.startswith("cross"):
                assert not np.array_equal(maps, two.attention[key][1])
    # The first state is the same with and without guidance: so are the maps for the prompt.
    alone, _ = watch(pipe, ALL, steps=3, guided=False)
    for key, maps in alone.steps[0].attention.items():
        np.testing.assert_allclose(maps, cond.steps[0].attention[key], atol=1e-4, rtol=1e-2)


def test_each_head_and_their_mean(sd_pipe: Any) -> None:
    whole, order = of_denoiser(sd_pipe, steps=1), named(sd_pipe)
    trace, _ = watch(sd_pipe, replace(ALL, attention_heads="each"), steps=1)
    for layer, matrix in zip(order, whole, strict=True):
        kind = "cross" if layer.endswith("attn2") else "self"
        got = trace.steps[0].attention[f"{kind}:{layer}"][0]
        expected = matrix[1].swapaxes(-1, -2) if kind == "cross" else matrix[1]
        np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=3e-4, rtol=2e-3)


@pytest.mark.parametrize(("name", "tokens"), [("sd", 77), ("flux", 16)])
def test_the_keys_are_named_by_the_prompt(name: str, tokens: int, request: pytest.FixtureRequest) -> None:
    """The prompt, and neither the negative one nor that of a call before."""
    pipe = request.getfixturevalue(f"{name}_pipe")
    with observe(pipe, replace(ALL, attention="cross")) as trace:
        pipe(**arguments(pipe, steps=1, prompts=("two stars",)))
        pipe(**arguments(pipe, steps=1, prompts=("red sky",)))
    text = trace.latent_provenance["attention"]["text"]
    assert [token["index"] for token in text] == list(range(tokens))
    words = dict.fromkeys(token["word_text"] for token in text if not token["special"] and token["word_text"])
    assert list(words) == ["red", "sky"]
    assert "encode_prompt" not in vars(pipe)
    assert trace.attention.steps == (0,)


def test_steps_and_layers_can_be_chosen(sdxl_pipe: Any) -> None:
    capture = replace(ALL, attention="cross", attention_every=3, attention_layers=("mid", "up_blocks.0"))
    trace, _ = watch(sdxl_pipe, capture, steps=6)
    assert [step.index for step in trace.steps if step.attention] == [0, 3, 5]
    layers = trace.latent_provenance["attention"]["layers"]
    assert {layer["block"] for layer in layers} == {"mid", "up"}
    assert [f"cross:{layer['name']}" for layer in layers] == sorted(trace.steps[0].attention)
    with (
        pytest.raises(CapabilityError, match=r"nothing\.\*.*This model has such as down_blocks"),
        observe(sdxl_pipe, replace(ALL, attention_layers=("nothing.*",))),
    ):
        pass


def test_half_precision_has_no_nan(sd_pipe: Any) -> None:
    pipe = copy.deepcopy(sd_pipe).to(torch.float16)
    # Logits beyond the range of float16.
    for name, module in pipe.unet.named_modules():
        if name.endswith(("to_q", "to_k")):
            module.weight.data *= 12
    plain = pipe(**arguments(pipe, steps=2)).images
    trace, images = watch(pipe, replace(ALL, attention_resolution=4), steps=2)
    np.testing.assert_array_equal(images, plain)
    for step in trace.steps:
        for key, maps in step.attention.items():
            axes = 1 if key.startswith("cross") else (-1, -2)
            np.testing.assert_allclose(maps.sum(axes, dtype=np.float64), 1.0, atol=5e-3)


def test_two_threads_do_not_see_each_other(sd_pipe: Any) -> None:
    """Both run the same UNet at once, each with a scheduler and a tokenizer of its own.

    Of one tokenizer two threads see each other: how it pads is state that a call leaves in it.
    """
    own = {name: copy.deepcopy(sd_pipe.components[name]) for name in ("scheduler", "tokenizer")}
    other = type(sd_pipe)(**{**sd_pipe.components, **own}, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    calls = [
        (
            sd_pipe,
            replace(ALL, attention="cross", predictions=False, metrics=False),
            {"width": 64, "seed": 1},
        ),
        (other, replace(ALL, attention="self", predictions=False, metrics=False), {"width": 96, "seed": 2}),
    ]
    alone = [watch(pipe, capture, steps=3, guided=False, **call)[0] for pipe, capture, call in calls]
    together: list[Any] = [None, None]
    barrier = threading.Barrier(2)

    def run(i: int) -> None:
        pipe, capture, call = calls[i]

        def on_step(_: Any) -> None:
            barrier.wait(60)

        with observe(pipe, capture, on_step=on_step) as trace:
            pipe(**arguments(pipe, steps=3, guided=False, **call))
        together[i] = trace

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for one, two in zip(alone, together, strict=True):
        for a, b in zip(one.steps, two.steps, strict=True):
            assert a.attention.keys() == b.attention.keys()
            for key in a.attention:
                np.testing.assert_array_equal(a.attention[key], b.attention[key])


def test_a_call_on_another_thread_is_read_as_well(sd_pipe: Any) -> None:
    here, _ = watch(sd_pipe, ALL, steps=2)
    with observe(sd_pipe, ALL) as trace:
        thread = threading.Thread(target=lambda: sd_pipe(**arguments(sd_pipe, steps=2)))
        thread.start()
        thread.join(60)
    assert "attention" not in trace.missing
    for one, two in zip(here.steps, trace.steps, strict=True):
        assert one.attention.keys() == two.attention.keys()
        for key, maps in one.attention.items():
            np.testing.assert_array_equal(maps, two.attention[key])


@pytest.mark.parametrize("ending", ["normal", "exception"])
def test_nothing_is_left_behind(flux_cfg_pipe: Any, ending: str) -> None:
    pipe = flux_cfg_pipe
    modules = list(pipe.transformer.modules())
    before = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules]
    broken = modules[-3].register_forward_hook(lambda *_: 1 / 0) if ending == "exception" else None
    try:
        with observe(pipe, ALL):
            pipe(**arguments(pipe, steps=1))
    except ZeroDivisionError:
        assert ending == "exception"
    finally:
        if broken is not None:
            broken.remove()
    assert torch._C._len_torch_function_stack() == 0
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules] == before


def test_passes_that_guidance_adds_are_not_read(sd_pipe: Any) -> None:
    from diffatlas.steering.guided import steer_guidance
    from diffatlas.steering.methods import GuidancePlan

    plain, _ = watch(sd_pipe, ALL, steps=1)
    with (
        observe(sd_pipe, ALL) as trace,
        steer_guidance(sd_pipe, [GuidancePlan(4.0, "pag", {"scale": 3.0})], 4.0, trace),
    ):
        sd_pipe(**arguments(sd_pipe, steps=1))
    assert not np.array_equal(trace.steps[0].latents, plain.steps[0].latents)
    for key, maps in plain.steps[0].attention.items():
        np.testing.assert_array_equal(trace.steps[0].attention[key], maps)
