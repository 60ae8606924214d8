"""Why attention could not be read, in a sentence that is true and says what to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from diffatlas.capture.attention_layers import Layer

if TYPE_CHECKING:
    from diffatlas.capture.attention_seen import Watch


def not_read(
    denoisers: Sequence[Any],
    layers: Sequence[Layer],
    compiled: Collection[str],
    watch: Watch,
    kinds: Sequence[str],
) -> str:
    """Return why nothing was read of these layers.

    compiled: names of those that are compiled. kinds: `Capture.attention_kinds`.
    """
    if all(layer.name in compiled for layer in layers):
        return (
            "The denoiser is compiled, so that its attention layers do not run as such and cannot be read: undo it"
            f" with {_how_to_undo(denoisers[0])}, or by taking compile= out of the model's line, or set"
            " attention='off'."
        )
    if watch.failed:
        return next(iter(watch.failed.values()))
    ran = [layer for layer in layers if layer.name in watch.ran]
    if not ran:
        return "None of the attention layers asked for ran in the first step: ask for others, or set attention='off'."
    if not watch.seen:
        names = sorted({_computing(layer.module) for layer in ran})
        return (
            f"Attention is computed by {' and '.join(names)} in a way of its own, not by PyTorch's"
            " scaled_dot_product_attention, by a backend of diffusers or by get_attention_scores, so it cannot be"
            f" read: {_how_to_switch(names, ran[0].module)}, or set attention='off'."
        )
    asked = " and ".join(kinds)
    return f"The layers asked for have no {asked}-attention between places of the image and one sequence of text."


def _computing(module: Any) -> str:
    processor = getattr(module, "processor", None)
    return type(module if processor is None else processor).__name__


def _how_to_switch(names: Sequence[str], module: Any) -> str:
    """Return how to have attention computed in a way that can be read."""
    if all("XFormers" in name for name in names):
        return "switch back with pipe.disable_xformers_memory_efficient_attention()"
    if type(module).__module__ == "diffusers.models.attention_processor":
        return (
            "switch with pipe.unet.set_attn_processor(AttnProcessor2_0()) (pipe.transformer alike; the class is in"
            " diffusers.models.attention_processor)"
        )
    return "give the layers the processors that they were loaded with"


def _how_to_undo(denoiser: Any) -> str:
    """Return how a compiled denoiser is had as it was."""
    plain = getattr(denoiser, "_orig_mod", denoiser)
    part = "pipe.unet" if "UNet" in type(plain).__name__ else "pipe.transformer"
    if plain is not denoiser:
        return f"{part} = {part}._orig_mod"
    return f"'for module in {part}.modules(): module._compiled_call_impl = None'"
