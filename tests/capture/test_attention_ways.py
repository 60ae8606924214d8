"""Every way in which maps are computed makes those of the whole matrix in float64.

The way of a GPU runs on the CPU here, in the same operations but for products of half precision that give float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from diffatlas.capture import Capture, attention, attention_maps_gpu, attention_ways, observe
from diffatlas.capture.attention import AttentionRecorder
from diffatlas.capture.attention_fused import call_fused
from diffatlas.capture.attention_maps import Part
from diffatlas.capture.attention_ways import Attended, maps_of_samples, wants_log_sum_exp
from tests import pipelines
from tests.capture import other_pipelines as other
from tests.capture.whole_attention import matrix

WAYS = ["cpu", "gpu"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "gpu":
        monkeypatch.setattr(attention_ways, "ONE_BY_ONE", ())
    return request.param


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_ways, "ONE_BY_ONE", ())


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


#: Grid, where the text is and its length, tokens of references behind the image, side of a cell.
PARTS = {
    "words": ((6, 8), None, 11, 0, 1),
    "places": ((6, 8), "none", 0, 0, 2),
    "uneven cells": ((5, 7), "none", 0, 0, 2),
    "one place a cell": ((6, 8), "none", 0, 0, 1),
    "text first": ((6, 8), "first", 7, 0, 2),
    "text last, references": ((5, 7), "last", 7, 9, 3),
}


def part_of(name: str) -> tuple[Part, int, int]:
    """Return (part, queries, keys)."""
    grid, where, text, references, cell = PARTS[name]
    places = grid[0] * grid[1]
    if where is None:
        return Part(slice(0, places), grid, slice(0, text), None, cell), places, text
    every = places + text + references
    start = text if where == "first" else 0
    words = {"none": None, "first": slice(0, text), "last": slice(every - text, every)}[where]
    image = slice(start, start + places)
    return Part(image, grid, words, image, cell), every, every


def whole(shares: np.ndarray, part: Part) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(cross, self) of (rows, heads, S, M) by the definition, heads kept."""
    shares = shares[:, :, part.queries]
    cross = own = None
    if part.text is not None:
        cross = shares[..., part.text].swapaxes(-1, -2)
        cross = cross.reshape(*cross.shape[:-1], *part.grid)
    if part.image is not None:
        cells = np.zeros((part.grid[0] * part.grid[1], part.cells[0] * part.cells[1]))
        for place in range(len(cells)):
            y, x = divmod(place, part.grid[1])
            cells[place, y // part.cell * part.cells[1] + x // part.cell] = 1
        own = np.einsum("pc,bhpq,qd->bhcd", cells / cells.sum(0), shares[..., part.image], cells)
        own = own.reshape(*own.shape[:2], *part.cells, *part.cells)
    return cross, own


def together(found: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    found = list(found)
    return tuple(
        None if maps[0] is None else torch.cat(maps).double().numpy()
        for maps in ([f.cross for f in found], [f.own for f in found])
    )


@pytest.mark.parametrize("each", [False, True], ids=["mean", "each head"])
@pytest.mark.parametrize("known", [True, False], ids=["log-sum-exp", "without"])
@pytest.mark.parametrize("mask", [None, "bool", "added", "nowhere"])
@pytest.mark.parametrize("name", PARTS)
def test_maps_are_those_of_the_whole_matrix(
    name: str, mask: str | None, known: bool, each: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, queries, keys = part_of(name)
    query, key = noise(3, 4, queries, 16), noise(3, 2, keys, 16, seed=1)
    given = {
        None: None,
        "bool": noise(3, 1, 1, keys, seed=2) > -1,
        "added": noise(1, 4, queries, keys, seed=2),
        "nowhere": (noise(1, 1, queries, keys, seed=2) > -1) & (torch.arange(queries) != 20)[:, None],
    }[mask]
    shared = None
    if known:
        _, fused = call_fused(lambda: scaled_dot_product_attention(query, key, key, given, enable_gqa=True))
        shared = fused.log_sum_exp
    # Several chunks, of samples, rows and heads.
    monkeypatch.setattr(attention_maps_gpu, "CHUNK", 4000)
    with np.errstate(invalid="ignore"):
        expected = whole(np.nan_to_num(matrix(query, key, given)), part)
    got = together(maps_of_samples(Attended(query, key, None, given, shared), part, [0, 2], each))
    for maps, of_all in zip(got, expected, strict=True):
        assert (maps is None) == (of_all is None)
        if maps is not None:
            np.testing.assert_allclose(
                maps, of_all[[0, 2]] if each else of_all[[0, 2]].mean(1), atol=1e-6, rtol=1.5e-3
            )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("known", [True, False], ids=["log-sum-exp", "without"])
def test_half_precision_adds_less_than_the_maps_own(known: bool, dtype: torch.dtype, way: str) -> None:
    """Of logits up to about 40. float16 rounds by up to 2^-11 of a value, and by 3e-8 of what is near 0, once."""
    part, queries, keys = part_of("text first")
    query, key = (3 * noise(2, 8, queries, 40)).to(dtype), (2.5 * noise(2, 8, keys, 40, seed=1)).to(dtype)
    _, fused = call_fused(lambda: scaled_dot_product_attention(query, key, key))
    attended = Attended(query, key, None, None, fused.log_sum_exp if known else None)
    got = together(maps_of_samples(attended, part, [0, 1], False))
    exact = whole(matrix(query.float(), key.float()), part)
    for maps, of_all in zip(got, exact, strict=True):
        of_all = of_all.mean(1)
        unit = 2**-11 * of_all + 6e-8
        own, whole_error = (np.abs(m - of_all) / unit for m in (of_all.astype(np.float16), maps))
        assert whole_error.max() < 2
        assert whole_error.mean() < 1.2 * own.mean()


def test_logits_beyond_half_precision_give_no_nan(on_gpu: None) -> None:
    part, queries, keys = part_of("places")
    query, key = (100 * noise(1, 2, queries, 64)).half(), (100 * noise(1, 2, keys, 64, seed=1)).half()
    _, fused = call_fused(lambda: scaled_dot_product_attention(query, key, key))
    assert fused.log_sum_exp.max() > 20_000
    (found,) = maps_of_samples(Attended(query, key, None, None, fused.log_sum_exp), part, [0], False)
    np.testing.assert_allclose(found.own.sum((-1, -2), dtype=torch.float32), 1.0, atol=2e-2)


class Counted(TorchDispatchMode):
    """Collects what computes or copies, without what only looks at the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        looks = func.is_view or "empty" in func.name() or "_unsafe_view" in func.name()
        self.names += [] if looks else [func.name().removeprefix("aten::").partition(".")[0]]
        return func(*args, **(kwargs or {}))


@pytest.fixture
def wide_products() -> Iterator[None]:
    """Products of half precision that give float32, as CUDA has them."""

    def product(
        room: Any, one: Any, two: Any, dtype: Any, *, beta: float = 1, alpha: float = 1, out: Any
    ) -> torch.Tensor:
        assert room is out or beta == 0
        return out.copy_(alpha * (one.float() @ two.float()) + (beta * room if beta else 0))

    library = torch.library.Library("aten", "IMPL")
    library.impl("baddbmm.dtype_out", product, "CPU")
    attention_maps_gpu._widens.cache_clear()
    yield
    library._destroy()
    attention_maps_gpu._widens.cache_clear()


def test_a_gpu_runs_few_kernels_and_is_not_waited_for(on_gpu: None, wide_products: None) -> None:
    part, queries, keys = part_of("words")
    for dtype in (torch.float32, torch.float16):
        attended = Attended(noise(2, 4, queries, 16).to(dtype), noise(2, 4, keys, 16).to(dtype), None, None)
        assert not wants_log_sum_exp(part, attended.query, attended.key)
        list(maps_of_samples(attended, part, [1], False))
        with Counted() as counted:
            (found,) = maps_of_samples(attended, part, [1], False)
        assert counted.names == ["baddbmm", "_softmax", "sum", "mul"]
        expected = whole(matrix(attended.query.float(), attended.key.float()), part)[0][1].mean(0)
        np.testing.assert_allclose(found.cross[0], expected, atol=1e-6, rtol=1.5e-3)
    part, queries, keys = part_of("text first")
    words = replace(part, image=None)
    query, key = noise(2, 4, queries, 16).half(), noise(2, 4, keys, 16).half()
    assert wants_log_sum_exp(words, query, key)
    attended = Attended(query, key, None, None, noise(2, 4, queries).abs())
    with Counted() as counted:
        list(maps_of_samples(attended, words, [0, 1], False))
    names = counted.names
    assert names[-4:] == ["baddbmm", "exp", "sum", "mul"]
    # What brings the log-sum-exp into the product, once a layer, whatever its number of chunks.
    assert len(names) <= 20
    assert not {"_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero"} & set(names)


def assert_same(one: Any, two: Any) -> None:
    for a, b in zip(one.steps, two.steps, strict=True):
        assert a.attention.keys() == b.attention.keys()
        for key, maps in a.attention.items():
            np.testing.assert_allclose(maps, b.attention[key], atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("sd", torch.float32), ("qwen", torch.float32), ("sd", torch.bfloat16), ("flux", torch.bfloat16)],
    ids=str,
)
def test_a_run_has_the_same_maps_either_way(
    name: str, dtype: torch.dtype, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = copy.deepcopy(request.getfixturevalue(f"{name}_pipe")).to(dtype)
    capture = Capture(attention="all", attention_halves="both", attention_resolution=5)
    call = {"steps": 3, "width": 96, "height": 64}
    plain = pipe(**pipelines.arguments(pipe, **call)).images
    traces = []
    for way in WAYS:
        monkeypatch.setattr(attention_ways, "ONE_BY_ONE", ("cpu",) if way == "cpu" else ())
        monkeypatch.setattr(attention_maps_gpu, "LARGE", 0)
        with observe(pipe, capture) as trace:
            images = pipe(**pipelines.arguments(pipe, **call)).images
        np.testing.assert_array_equal(images, plain)
        traces.append(trace)
    assert_same(*traces)


class Seen:
    """What is on while the layers of a model run: modes, frames, and the function that is looked on at."""

    def __init__(self, denoiser: Any, names: tuple[str, ...]) -> None:
        self.calls: list[dict[str, tuple[int, int]]] = []
        self.recorder: AttentionRecorder | None = None
        denoiser.register_forward_pre_hook(lambda *_: self.calls.append({}))
        for name in names:
            layer = denoiser.get_submodule(name)
            layer.to_q.register_forward_hook(lambda *_, name=name: self.note(name))

    def note(self, name: str) -> None:
        modes = torch._C._len_torch_function_stack()
        frames = 0 if self.recorder is None else len(self.recorder._watch._frames)
        self.calls[-1][name] = (modes, frames)


CROSS = "mid_block.attentions.0.transformer_blocks.0.attn2"
OWN = "mid_block.attentions.0.transformer_blocks.0.attn1"


def unet_steps(capture: Capture, count: int) -> Iterator[tuple[Any, Seen, bool]]:
    """Yield, after each step of a UNet, what was on, and whether torch's function is as it was."""
    unet = pipelines.build_sd().unet
    seen = Seen(unet, (CROSS, OWN))
    seen.recorder = recorder = AttentionRecorder(capture, [unet])
    plain = torch.nn.functional.scaled_dot_product_attention
    during: list[bool] = []
    unet.register_forward_pre_hook(
        lambda *_: during.append(torch.nn.functional.scaled_dot_product_attention is plain)
    )
    args, kwargs = (other.noise(2, 4, 16, 16), 10), {"encoder_hidden_states": other.noise(2, 7, 32)}
    with recorder.watching(), torch.no_grad():
        for index in range(count):
            with recorder.reading(unet, args, kwargs, index, 100, index == 0):
                unet(*args, **kwargs)
            assert torch.nn.functional.scaled_dot_product_attention is plain
            yield recorder.take(1, 1, 0), seen.calls[-1], during[-1]
    assert torch.nn.functional.scaled_dot_product_attention is plain


def test_what_is_known_needs_no_mode_and_what_is_not_asked_for_no_frame() -> None:
    steps = list(unet_steps(Capture(attention="cross"), 3))
    assert steps[0][1] == {OWN: (1, 1), CROSS: (1, 1)}
    for taken, on, _ in steps[1:]:
        assert on == {OWN: (0, 0), CROSS: (0, 1)}
        assert taken.keys() == steps[0][0].keys()
        assert all(key.startswith("cross") for key in taken)


def test_nothing_is_on_at_steps_that_are_left_out() -> None:
    steps = list(unet_steps(Capture(attention="all", attention_every=2), 4))
    assert [taken is not None for taken, _, _ in steps] == [True, False, True, False]
    for number, (_, on, untouched) in enumerate(steps):
        assert untouched == (number % 2 == 1)
        if untouched:
            assert on == {OWN: (0, 0), CROSS: (0, 0)}


def test_nothing_is_held_where_a_gpu_computes(on_gpu: None) -> None:
    unet = pipelines.build_sd().unet
    recorder = AttentionRecorder(Capture(attention="all"), [unet])
    args, kwargs = (other.noise(2, 4, 16, 16), 10), {"encoder_hidden_states": other.noise(2, 7, 32)}
    with recorder.watching(), torch.no_grad(), recorder.reading(unet, args, kwargs, 0, 100, True):
        unet(*args, **kwargs)
        assert not any(call.held for call in recorder._calls)
    assert recorder.take(1, 1, 0)


def test_small_layers_of_one_shape_are_read_in_one_product(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch, sd_pipe: Any
) -> None:
    """Of both halves, two images, and layers of two sizes; a chunk holds one layer, or some, or all."""
    call = {"steps": 2, "width": 96, "height": 64, "prompts": ("a red circle", "two stars")}
    capture, traces = Capture(attention="cross", attention_halves="both"), []
    read: list[int] = []

    def counting(*args: Any) -> Any:
        read.append(1)
        return maps_of_samples(*args)

    monkeypatch.setattr(attention, "maps_of_samples", counting)
    for chunk in (1, 3 * 4 * 4 * 96 * 77, 2**30):
        monkeypatch.setattr(attention_maps_gpu, "CHUNK", chunk)
        read.clear()
        with observe(sd_pipe, capture) as trace:
            sd_pipe(**pipelines.arguments(sd_pipe, **call))
        traces.append(trace)
        layers = len(trace.steps[0].attention)
        assert len(read) == {1: 2 * layers, 2**30: 2 * 2}.get(chunk, len(read))
        assert len(read) <= 2 * layers
    assert_same(traces[0], traces[1])
    assert_same(traces[0], traces[2])
