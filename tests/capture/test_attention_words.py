"""The words of the text are read wherever the keys are: beside those of an image, or joined in a layer's own way."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from diffatlas.capture.attention import AttentionRecorder
from tests import pipelines
from tests.capture import other_pipelines as other
from tests.capture.whole_attention import first_matrices, laid_out
from tests.zoo import ENTRIES

BOTH = Capture(attention="all", attention_halves="both")
CLOSE = {"atol": 2e-4, "rtol": 2e-3}


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(pipe: Any, capture: Capture | None = None, **call: Any) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Return (trace, latents, whole matrices of each denoiser call of a plain call); the images must be the same."""
    asked = {"num_inference_steps": 2, "output_type": "latent", **call}
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    with first_matrices(denoiser) as calls:
        plain = pipe(**asked, generator=seeded()).images
    with observe(pipe, capture or BOTH) as trace:
        seen = pipe(**asked, generator=seeded()).images
    assert torch.equal(plain, seen)
    assert "attention" not in trace.missing
    return trace, plain, calls


def assert_all(
    trace: Any, calls: list[dict[str, Any]], parts: list[tuple[int, int]], per_step: int, where: Any
) -> None:
    """Compare every map of every step. ``where``: (queries, keys of the text, of the image, grid) of a matrix.

    parts: (call of the step, row) of the conditional and the unconditional pass.
    """
    names = {key.partition(":")[2] for key in trace.steps[0].attention}
    assert names == set(calls[0])
    for index, step in enumerate(trace.steps):
        for half, (number, row) in enumerate(parts):
            for name, shares in calls[index * per_step + number].items():
                queries, text, image, grid = where(name, shares[row])
                if text is not None:
                    got = step.attention[f"cross:{name}"][half, 0]
                    np.testing.assert_allclose(got, laid_out(shares[row], queries, text, grid), **CLOSE)
                if image is not None:
                    got = step.attention[f"self:{name}"][half, 0]
                    expected = shares[row].mean(0)[queries, image].reshape(*grid, *grid)
                    np.testing.assert_allclose(got, expected, **CLOSE)


def of_unet(_: str, shares: np.ndarray) -> Any:
    """Cross- and self-attention in layers of their own; the latents are 16 rows of 24 columns."""
    grid = {384: (16, 24), 96: (8, 12)}[shares.shape[1]]
    every = slice(None)
    return (every, every, None, grid) if shares.shape[2] == 77 else (every, None, every, grid)


@pytest.mark.parametrize("adapters", [1, 2])
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_words_beside_an_ip_adapter(adapters: int, masked: bool) -> None:
    pipe = other.with_ip_adapters(pipelines.build_sd(), adapters)
    call = {"ip_adapter_image_embeds": [other.noise(2, 1, 16, seed=4 + i) for i in range(adapters)]}
    if masked:
        masks = [torch.ones(1, 1, 64, 96) for _ in range(adapters)]
        masks[0][..., :48] = 0
        call["cross_attention_kwargs"] = {"ip_adapter_masks": masks}
    asked = {"prompt": "a red circle", "negative_prompt": "blue", "width": 96, "height": 64}
    trace, latents, calls = run(pipe, **asked, **call)
    assert_all(trace, calls, [(0, 1), (0, 0)], 1, of_unet)
    without = pipelines.build_sd()
    plain, other_latents, _ = run(without, **asked)
    assert not torch.equal(latents, other_latents)
    # The first cross-attention comes before the adapter changes anything: it is as without it.
    first = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    np.testing.assert_array_equal(
        trace.steps[0].attention[f"cross:{first}"], plain.steps[0].attention[f"cross:{first}"]
    )
    cross = [d for d in trace.latent_provenance["attention"]["layers"] if d["kind"] == "cross"]
    assert {d["tokens"] for d in cross} == {77}


def joined(text: int, grid: tuple[int, int], references: int = 0, text_first: bool = True) -> Any:
    places = grid[0] * grid[1]

    def where(_: str, shares: np.ndarray) -> Any:
        assert shares.shape[1:] == (text + places + references,) * 2
        start = text if text_first else 0
        image = slice(start, start + places)
        return image, slice(0, text) if text_first else slice(-text, None), image, grid

    return where


@pytest.mark.parametrize("text", [16, 96], ids=["shorter", "as long as the image"])
def test_cogview4_joins_them_in_its_processor(text: int) -> None:
    embeds = {
        "prompt_embeds": other.noise(1, text, 32),
        "negative_prompt_embeds": other.noise(1, text, 32, seed=4),
    }
    trace, _, calls = run(other.cogview4(), **embeds, width=96, height=64)
    assert_all(trace, calls, [(0, 0), (1, 0)], 2, joined(text, (8, 12)))


@pytest.mark.parametrize("size", [(64, 64), (128, 96)], ids=["smaller", "larger"])
def test_the_reference_of_kontext_is_neither_text_nor_image(size: tuple[int, int]) -> None:
    call = {"prompt": "a red circle", "image": other.picture(*size), "width": 96, "height": 64}
    call |= {"max_sequence_length": 16, "_auto_resize": False, "max_area": 96 * 64}
    trace, _, calls = run(other.kontext(), **call)
    references = size[0] * size[1] // 64
    assert_all(trace, calls, [(0, 0)], 1, joined(16, (8, 12), references))
    step = trace.steps[0].attention
    name = next(iter(calls[0]))
    # Some of what the places look at is the reference.
    total = step[f"cross:{name}"].sum(2, dtype=np.float64) + step[f"self:{name}"].sum(
        (-1, -2), dtype=np.float64
    )
    assert total.max() < 0.99


def test_the_references_of_flux2_are_neither_text_nor_image(flux2_pipe: Any) -> None:
    trace, _, calls = run(flux2_pipe, **other.flux2_call())
    references = (64 * 64 + 64 * 80) // 64
    assert_all(trace, calls, [(0, 0), (1, 0)], 2, joined(6, (8, 12), references))


@pytest.mark.parametrize("text", [7, 96], ids=["shorter", "as long as the image"])
def test_keys_that_are_added_for_the_text(sd_pipe: Any, text: int) -> None:
    """Queries of the image alone, keys of text and image (DeepFloyd IF)."""
    pipe = other.with_unet(sd_pipe, other.added_keys())
    embeds = {
        "prompt_embeds": other.noise(1, text, 32),
        "negative_prompt_embeds": other.noise(1, text, 32, seed=4),
    }
    trace, _, calls = run(pipe, **embeds, width=96, height=64)

    def where(_: str, shares: np.ndarray) -> Any:
        assert shares.shape[1:] == (96, text + 96)
        return slice(None), slice(0, text), slice(text, None), (8, 12)

    assert_all(trace, calls, [(0, 1), (0, 0)], 1, where)
    assert all(d["joint"] for d in trace.latent_provenance["attention"]["layers"])


def test_an_embedding_of_an_image_is_no_text() -> None:
    """Kandinsky 2.2 is given no text: what its places read from each other is there, and no words."""
    pipe = other.kandinsky22()
    call = {"image_embeds": other.noise(1, 16), "negative_image_embeds": torch.zeros(1, 16)}
    trace, _, calls = run(pipe, **call, width=128, height=64)
    assert {key.partition(":")[0] for key in trace.steps[0].attention} == {"self"}
    assert {key.partition(":")[2] for key in trace.steps[0].attention} == set(calls[0])


def test_words_beside_the_tokens_of_an_image() -> None:
    """Kandinsky 2.1 makes one sequence of an image's embedding, 10 tokens, and the text behind it."""
    unet = other.added_keys(
        encoder_hid_dim_type="text_image_proj", cross_attention_dim=32, encoder_hid_dim=32
    )
    unet.eval()
    recorder = AttentionRecorder(Capture(attention="all"), [unet])
    args, text = (other.noise(1, 4, 16, 24), 5), other.noise(1, 7, 32)
    kwargs = {"encoder_hidden_states": text, "added_cond_kwargs": {"image_embeds": other.noise(1, 32)}}
    with torch.no_grad(), first_matrices(unet) as calls, recorder.watching():
        with recorder.reading(unet, args, kwargs, 0, 1, True):
            unet(*args, **kwargs)
        taken = {key: maps.array() for key, maps in recorder.take(1, 0, None).items()}
    for name, shares in calls[0].items():
        assert shares.shape[2:] == (96, 17 + 96)
        expected = laid_out(shares[0], slice(None), slice(10, 17), (8, 12))
        np.testing.assert_allclose(taken[f"cross:{name}"][0], expected, **CLOSE)
    assert {d["tokens"] for d in recorder.describe()["layers"] if d["kind"] == "cross"} == {7}


def test_the_reference_of_qwen_is_neither_text_nor_image(qwen_pipe: Any) -> None:
    """Qwen-Image-Edit tells the grids of all images; those that follow the latents are references."""
    transformer = qwen_pipe.transformer
    recorder = AttentionRecorder(Capture(attention="all"), [transformer])
    shapes = [[(1, 8, 12), (1, 6, 6), (1, 4, 4)]]
    kwargs = {
        "hidden_states": other.noise(1, 96 + 36 + 16, 16),
        "timestep": torch.tensor([0.5]),
        "encoder_hidden_states": other.noise(1, 6, 32),
        "encoder_hidden_states_mask": torch.ones(1, 6, dtype=torch.long),
        "img_shapes": shapes,
    }
    with torch.no_grad(), first_matrices(transformer) as calls, recorder.watching():
        with recorder.reading(transformer, (), kwargs, 0, 1, True):
            transformer(**kwargs)
        taken = {key: maps.array() for key, maps in recorder.take(1, 0, None).items()}
    where = joined(6, (8, 12), 36 + 16)
    for name, shares in calls[0].items():
        queries, text, image, grid = where(name, shares[0])
        np.testing.assert_allclose(
            taken[f"cross:{name}"][0], laid_out(shares[0], queries, text, grid), **CLOSE
        )
        expected = shares[0].mean(0)[queries, image].reshape(*grid, *grid)
        np.testing.assert_allclose(taken[f"self:{name}"][0], expected, **CLOSE)


def test_words_beside_flux_ip_adapter(flux_cfg_pipe: Any) -> None:
    """The joint attention is the first that its processor computes; the image's follows."""
    pipe = copy.deepcopy(flux_cfg_pipe)
    width = pipe.transformer.inner_dim
    weights = {}
    for part in ("to_k_ip", "to_v_ip"):
        weights[f"0.{part}.weight"] = 0.1 * other.noise(width, 32, seed=len(weights) + 1)
        weights[f"0.{part}.bias"] = torch.zeros(width)
    project = {
        "proj.weight": 0.1 * other.noise(4 * 32, 16),
        "proj.bias": torch.zeros(4 * 32),
        "norm.weight": torch.ones(32),
        "norm.bias": torch.zeros(32),
    }
    pipe.transformer._load_ip_adapter_weights([{"image_proj": project, "ip_adapter": weights}])
    pipe.set_ip_adapter_scale(0.6)
    call = {
        "ip_adapter_image_embeds": [other.noise(1, 1, 16)],
        "negative_ip_adapter_image_embeds": [torch.zeros(1, 1, 16)],
        "prompt": "a red circle",
        "negative_prompt": "blue",
        "true_cfg_scale": 3.0,
        "max_sequence_length": 16,
    }
    trace, _, calls = run(pipe, **call, width=96, height=64)
    assert_all(trace, calls, [(0, 0), (1, 0)], 2, joined(16, (8, 12)))


def test_blocks_that_a_broadcast_skips_are_absent(flux_pipe: Any) -> None:
    """Pyramid attention broadcast gives an earlier output again: at such a step there is nothing to read."""
    from diffusers import PyramidAttentionBroadcastConfig

    pipe = copy.deepcopy(flux_pipe)
    seen: list[int] = []
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 10_000),
        current_timestep_callback=lambda: 500,
        spatial_attention_block_identifiers=("transformer_blocks",),
    )
    call = {"prompt": "a red circle", "max_sequence_length": 16, "width": 96, "height": 64}
    call |= {"num_inference_steps": 4, "output_type": "latent"}
    pipe.transformer.enable_cache(config)
    plain = pipe(**call, generator=seeded()).images
    pipe.transformer.disable_cache()
    pipe.transformer.enable_cache(config)
    with first_matrices(pipe.transformer) as calls:
        pipe(**call, generator=seeded())
    pipe.transformer.disable_cache()
    pipe.transformer.enable_cache(config)
    with observe(pipe, BOTH) as trace:
        images = pipe(**call, generator=seeded()).images
    assert torch.equal(plain, images)
    for step, computed in zip(trace.steps, calls, strict=True):
        names = {key.partition(":")[2] for key in step.attention or {}}
        assert names == set(computed)
        seen.append(len(names))
    assert min(seen) < max(seen)


def test_passes_that_only_look_ahead_are_not_read(sd_pipe: Any) -> None:
    """Attend-and-Excite calls its UNet with gradients first, some times or none, and only for the prompt."""
    from diffusers import StableDiffusionAttendAndExcitePipeline

    parts = copy.deepcopy({k: v for k, v in sd_pipe.components.items() if k != "image_encoder"})
    pipe = StableDiffusionAttendAndExcitePipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.requires_grad_(True)
    call = {"prompt": "a red circle", "token_indices": [2, 5], "max_iter_to_alter": 2, "attn_res": (8, 8)}
    call |= {"num_inference_steps": 4, "thresholds": {0: 0.9}, "width": 64, "height": 64}
    trace, _, calls = run(pipe, **call)
    counts = [len(next(iter(c.values()))) for c in calls]
    assert 1 in counts
    assert counts.count(2) == len(trace.steps)

    def where(name: str, shares: np.ndarray) -> Any:
        grid = {256: (16, 16), 64: (8, 8)}[shares.shape[1]]
        text = name.endswith("attn2")
        return slice(None), slice(None) if text else None, None if text else slice(None), grid

    doubled = [c for c in calls if len(next(iter(c.values()))) == 2]
    assert_all(trace, doubled, [(0, 1), (0, 0)], 1, where)


@pytest.mark.parametrize("scale", [5.0, 0.0], ids=["with cfg", "alone"])
def test_perturbed_layers_are_read_where_they_are_whole(sd_pipe: Any, scale: float) -> None:
    """PAG's own processors compute the attention of the last samples in another way, after the others."""
    from diffusers import StableDiffusionPAGPipeline

    pipe = StableDiffusionPAGPipeline(
        **copy.deepcopy(sd_pipe.components), pag_applied_layers=["mid"], requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    call = {"prompt": "a red circle", "width": 96, "height": 64, "guidance_scale": scale, "pag_scale": 3.0}
    trace, _, calls = run(pipe, **call)
    assert_all(trace, calls, [(0, 1), (0, 0)] if scale else [(0, 0)], 1, of_unet)


def test_registers_are_no_words() -> None:
    """AuraFlow puts 8 tokens of its own before the text."""
    trace, _, calls = of_zoo("AuraFlowPipeline")
    assert {d["tokens"] for d in trace.latent_provenance["attention"]["layers"] if d["kind"] == "cross"} == {
        6
    }
    for name, shares in calls[0].items():
        assert shares.shape[2:] == (14 + 64, 14 + 64)
        halves = trace.steps[0].attention[f"cross:{name}"][:, 0]
        rows = [laid_out(row, slice(14, None), slice(8, 14), (8, 8)) for row in shares]
        assert len(rows) == len(halves) == 2
        # In either order: which of them is the conditional one is told elsewhere.
        for row in rows:
            assert any(np.allclose(half, row, **CLOSE) for half in halves)


def test_a_sequence_that_is_given_twice_is_of_the_image() -> None:
    """Lumina gives the self-attention of the image the same sequence for queries and keys."""
    trace, _, _ = of_zoo("LuminaPipeline")
    kinds = {
        (d["name"].rpartition(".")[2], d["kind"]) for d in trace.latent_provenance["attention"]["layers"]
    }
    assert kinds == {("attn1", "self"), ("attn2", "cross")}
    trace, _, _ = of_zoo("Lumina2Pipeline")
    described = trace.latent_provenance["attention"]["layers"]
    assert {d["kind"] for d in described} == {"self"}
    assert not [d for d in described if "context" in d["name"]]


def of_zoo(name: str) -> tuple[Any, Any, list[dict[str, Any]]]:
    entry = next(e for e in ENTRIES if e.name == name)
    pipe = entry.build()
    call = {**entry.call(pipe, guided=True, seed=1), "output_type": "latent"}
    call.pop("generator")
    return run(pipe, **call)
