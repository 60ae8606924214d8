"""Attention is read wherever it is computed: by any backend of diffusers, by the scores of a layer, in slices."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from tests import pipelines
from tests.capture import other_pipelines as other

ALL = Capture(attention="all", attention_halves="both")
CLOSE = {"atol": 2e-4, "rtol": 2e-3}


def run(pipe: Any, capture: Capture = ALL, **call: Any) -> Any:
    """Return the trace of a call; its image must be that of a plain one."""
    asked = {"steps": 2, "width": 96, "height": 64, **call}
    plain = pipe(**pipelines.arguments(pipe, **asked)).images
    with observe(pipe, capture) as trace:
        seen = pipe(**pipelines.arguments(pipe, **asked)).images
    np.testing.assert_array_equal(plain, seen)
    return trace


def assert_same_maps(one: Any, two: Any, **tolerance: float) -> None:
    assert [bool(step.attention) for step in one.steps] == [True] * len(one.steps)
    for a, b in zip(one.steps, two.steps, strict=True):
        assert a.attention.keys() == b.attention.keys()
        for key, maps in a.attention.items():
            np.testing.assert_allclose(maps, b.attention[key], **(tolerance or CLOSE))
    described = [trace.latent_provenance["attention"]["layers"] for trace in (one, two)]
    assert described[0] == described[1]


def by_hand(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: Any = None, scale: Any = None
) -> torch.Tensor:
    """A backend as somebody might add one: matrices and a softmax, (B, S, heads, D)."""
    q, k, v = (t.transpose(1, 2) for t in (query, key, value))
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    logits = q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)
    if attn_mask is not None:
        mask = attn_mask[:, None, None] if attn_mask.ndim == 2 else attn_mask
        logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    return (logits.softmax(-1) @ v).transpose(1, 2)


@contextmanager
def registered(function: Any) -> Iterator[str]:
    """Have diffusers use this backend under the name of one that is not installed here."""
    from diffusers.models.attention_dispatch import AttentionBackendName
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as registry

    name = AttentionBackendName._SAGE_QK_INT8_PV_FP16_TRITON
    before = (
        registry._backends.get(name),
        registry._constraints.get(name),
        registry._supported_arg_names.get(name),
    )
    registry.register(name)(function)
    try:
        yield name.value
    finally:
        for table, value in zip(
            (registry._backends, registry._constraints, registry._supported_arg_names), before, strict=True
        ):
            table[name] = value


def use(pipe: Any, backend: str) -> None:
    """Set a backend without the check that its package is there."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    for module in pipe.transformer.modules():
        processor = getattr(module, "processor", None)
        if hasattr(processor, "_attention_backend"):
            processor._attention_backend = AttentionBackendName(backend)


@pytest.mark.parametrize("name", ["flux_cfg", "qwen", "flux2", "zimage"])
@pytest.mark.parametrize("backend", ["_native_math", "flex", "by hand"])
def test_every_backend_is_read_as_the_native_one(
    name: str, backend: str, request: pytest.FixtureRequest
) -> None:
    pipe = copy.deepcopy(request.getfixturevalue(f"{name}_pipe"))
    native = run(pipe)
    with registered(by_hand) as own:
        use(pipe, own if backend == "by hand" else backend)
        trace = run(pipe)
    assert "attention" not in trace.missing
    assert_same_maps(trace, native, atol=1e-3, rtol=1e-2)


def test_a_backend_that_is_registered_while_one_looks_on(flux_pipe: Any) -> None:
    pipe = copy.deepcopy(flux_pipe)
    native = run(pipe)
    call = pipelines.arguments(pipe, steps=2, width=96, height=64)
    with observe(pipe, ALL) as trace, registered(by_hand) as own:
        use(pipe, own)
        pipe(**call)
    assert_same_maps(trace, native, atol=1e-3, rtol=1e-2)


def test_keys_that_heads_share(flux_pipe: Any) -> None:
    """Grouped queries: the backend is given fewer heads of keys than of queries."""
    from diffusers.models.attention_dispatch import dispatch_attention_fn

    class Grouped:
        def __init__(self) -> None:
            self.found: list[np.ndarray] = []

        def __call__(self, attn: Any, hidden_states: Any, *_: Any, **__: Any) -> torch.Tensor:
            query, key, value = (
                layer(hidden_states).unflatten(-1, (attn.heads, -1))
                for layer in (attn.to_q, attn.to_k, attn.to_v)
            )
            few_keys, few_values = key[:, :, ::2], value[:, :, ::2]
            whole = query.double().permute(0, 2, 1, 3) @ (
                few_keys.double().repeat_interleave(2, 2).permute(0, 2, 3, 1)
            )
            self.found.append((whole / query.shape[-1] ** 0.5).softmax(-1).mean(1).numpy())
            return dispatch_attention_fn(query, few_keys, few_values, enable_gqa=True).flatten(2)

    pipe = copy.deepcopy(flux_pipe)
    grouped = Grouped()
    pipe.transformer.single_transformer_blocks[0].attn.processor = grouped
    with observe(pipe, ALL) as trace:
        pipe(**pipelines.arguments(pipe, steps=1, width=96, height=64))
    expected = grouped.found[0][0][16:, :16].T.reshape(16, 8, 12)
    got = trace.steps[0].attention["cross:single_transformer_blocks.0.attn"][0, 0]
    np.testing.assert_allclose(got, expected, **CLOSE)


def test_a_backend_is_read_once_a_layer(flux_pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import diffatlas.capture.attention as attention

    read: list[str] = []
    on_attention = attention.AttentionRecorder._on_attention

    def counting(self: Any, frame: Any, *args: Any) -> None:
        read.append(frame.layer.name)
        on_attention(self, frame, *args)

    monkeypatch.setattr(attention.AttentionRecorder, "_on_attention", counting)
    with observe(flux_pipe, ALL):
        flux_pipe(**pipelines.arguments(flux_pipe, steps=1))
    assert read == ["transformer_blocks.0.attn", "single_transformer_blocks.0.attn"]


def test_nothing_is_left_in_the_tables_and_classes(flux_pipe: Any, sd_pipe: Any) -> None:
    from diffusers.models.attention import AttentionModuleMixin
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as registry
    from diffusers.models.attention_processor import Attention

    before = dict(registry._backends)
    methods = [cls.__dict__["get_attention_scores"] for cls in (Attention, AttentionModuleMixin)]
    with observe(flux_pipe, ALL), observe(sd_pipe, ALL), observe(flux_pipe, ALL):
        assert registry._backends != before
        flux_pipe(**pipelines.arguments(flux_pipe, steps=1))
    assert registry._backends == before
    assert [cls.__dict__["get_attention_scores"] for cls in (Attention, AttentionModuleMixin)] == methods


def test_a_mask_of_a_kind_that_cannot_be_read_is_named(flux_pipe: Any) -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    pipe = copy.deepcopy(flux_pipe)
    use(pipe, "flex")
    mask = create_block_mask(lambda b, h, q, k: k >= 0, 1, 1, 16 + 96, 16 + 96, "cpu")
    call = {"joint_attention_kwargs": {"attention_mask": mask}}
    with observe(pipe, ALL) as trace:
        pipe(**pipelines.arguments(pipe, steps=1, width=96, height=64), **call)
    assert "BlockMask" in trace.missing["attention"]
    assert "'native'" in trace.missing["attention"]
    assert trace.steps[0].attention is None


@pytest.mark.parametrize("processor", ["AttnProcessor", "sliced by 1", "sliced by 3"])
def test_scores_of_a_layer_are_read(sd_pipe: Any, processor: str) -> None:
    from diffusers.models.attention_processor import AttnProcessor, SlicedAttnProcessor

    pipe = copy.deepcopy(sd_pipe)
    call = {"prompts": ("a red circle", "two stars"), "width": 48, "height": 32}
    sliced = processor.startswith("sliced")
    for capture in (ALL, replace(ALL, attention_heads="each")):
        pipe.unet.set_default_attn_processor()
        native = run(pipe, capture, **call)
        pipe.unet.set_attn_processor(SlicedAttnProcessor(int(processor[-1])) if sliced else AttnProcessor())
        assert_same_maps(run(pipe, capture, **call), native)


@pytest.mark.parametrize("text", [7, 96])
@pytest.mark.parametrize("name", ["AttnAddedKVProcessor", "SlicedAttnAddedKVProcessor"])
def test_scores_with_keys_that_are_added(sd_pipe: Any, name: str, text: int) -> None:
    from diffusers.models import attention_processor

    pipe = other.with_unet(sd_pipe, other.added_keys())
    call = {
        "prompt_embeds": other.noise(1, text, 32),
        "negative_prompt_embeds": other.noise(1, text, 32, seed=4),
        "num_inference_steps": 2,
        "width": 96,
        "height": 64,
    }
    traces = []
    for processor in (None, getattr(attention_processor, name)):
        if processor is not None:
            pipe.unet.set_attn_processor(processor(2) if name.startswith("Sliced") else processor())
        with observe(pipe, ALL) as trace:
            pipe(**call, generator=torch.Generator().manual_seed(1), output_type="latent")
        traces.append(trace)
    assert {key.partition(":")[0] for key in traces[0].steps[0].attention} == {"cross", "self"}
    assert_same_maps(traces[1], traces[0])


class OwnWay:
    """A processor that computes attention by itself."""

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            layer(of).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, of in ((attn.to_q, hidden_states), (attn.to_k, text), (attn.to_v, text))
        )
        out = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1) @ v
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


def test_a_processor_that_cannot_be_read_is_named(sd_pipe: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    pipe = copy.deepcopy(sd_pipe)
    pipe.unet.set_attn_processor(OwnWay())
    trace = run(pipe)
    assert "OwnWay" in trace.missing["attention"]
    assert "set_attn_processor(AttnProcessor2_0())" in trace.missing["attention"]
    assert [step.attention for step in trace.steps] == [None, None]
    # The way that is told is one. Where others can be read they are.
    pipe.unet.set_attn_processor(AttnProcessor2_0())
    pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.processor = OwnWay()
    trace = run(pipe)
    assert "attention" not in trace.missing
    names = {key.partition(":")[2] for key in trace.steps[0].attention}
    assert "mid_block.attentions.0.transformer_blocks.0.attn2" in names
    assert "mid_block.attentions.0.transformer_blocks.0.attn1" not in names


def test_layers_that_run_on_another_thread_are_not_read(sd_pipe: Any) -> None:
    """A second thread runs the same UNet inside the observed call: its attention is not that of the step."""
    alone = run(sd_pipe)
    noise, text = other.noise(2, 4, 16, 24), other.noise(2, 77, 32)

    def beside(*_: Any) -> None:
        def go() -> None:
            with torch.no_grad():
                sd_pipe.unet(noise, 3, encoder_hidden_states=text)

        thread = threading.Thread(target=go)
        thread.start()
        thread.join(60)

    inside = sd_pipe.unet.conv_in.register_forward_hook(
        lambda *_: None if threading.current_thread() is not threading.main_thread() else beside()
    )
    try:
        assert_same_maps(run(sd_pipe), alone, atol=0, rtol=0)
    finally:
        inside.remove()
