"""Which guidance methods a model should take, from its configs alone."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from diffatlas.backends.parts import Parts, class_of_diffusers
from diffatlas.capture.asked import guides_by_true_cfg
from diffatlas.capture.calls import call_parameters
from diffatlas.errors import CapabilityError, ModelLoadError
from diffatlas.guidance import METHODS, all_options
from diffatlas.params import GenerationParams

#: How a guidance scale acts: it mixes two predictions, it is an input of the denoiser, or it does nothing.
GuidanceKind = Literal["mixed", "input", "none"]


def guidance_kind(parts: Parts) -> GuidanceKind | None:
    """Return how a model's guidance scale acts, by its configs; None where its files cannot tell."""
    try:
        index, unet, transformer = parts.index, parts.config("unet"), parts.config("transformer")
    except ModelLoadError:
        return None
    if unet.get("time_cond_proj_dim") or transformer.get("guidance_embeds"):
        return "input"
    if parts.pipeline is None:
        return None
    return "mixed" if _guides(parts.pipeline) and not index.get("is_distilled") else "none"


def guidance_methods(parts: Parts) -> tuple[str, ...]:
    """Return the names of `METHODS` that should work with a model, by its configs.

    None of them where the model makes one prediction a step: guidance that is an input of the model or distilled
    into it. Those that need layers changed (pag, slg) for UNets, and for transformers that are made of blocks. What
    the files cannot tell, the run says by a `CapabilityError`.
    """
    if guidance_kind(parts) != "mixed":
        # Where its files are wrong, loading the model will say so.
        return ()
    unet, transformer = parts.config("unet"), parts.config("transformer")
    perturbs = bool(unet) or _has_blocks(str(transformer.get("_class_name")))
    return tuple(name for name, method in METHODS.items() if perturbs or not method.perturbs)


def fit_guidance(params: GenerationParams, parts: Parts, name: str) -> GenerationParams:
    """Return ``params`` with all options of their guidance method filled in.

    Raises `CapabilityError` where the model, called ``name``, does not take the method.
    """
    method = params.guidance_method
    if method is None:
        return params
    methods = guidance_methods(parts)
    if method not in methods:
        why = (
            f"it takes {', '.join(methods)}"
            if methods
            else "it makes one prediction a step, without classifier-free guidance"
        )
        raise CapabilityError(
            f"{name} does not take the guidance method {method!r}: {why}.", field="guidance_method"
        )
    return params.replace(guidance_options=all_options(method, params.guidance_options) or None)


@lru_cache
def _guides(cls: type | None) -> bool:
    """Whether a pipeline class runs classifier-free guidance by the arguments that it is called with."""
    if cls is None:
        return False
    call: Mapping[str, Any] = call_parameters(cls)
    if guides_by_true_cfg(call):
        return True
    negative = {"negative_prompt", "negative_prompt_embeds"} & set(call)
    return "guidance_scale" in call and "true_cfg_scale" not in call and bool(negative)


@lru_cache
def _has_blocks(transformer: str) -> bool:
    """Whether a transformer class of diffusers is made of blocks that take hidden states."""
    cls = class_of_diffusers(transformer)
    if cls is None:
        return False
    parts = vars(sys.modules[cls.__module__]).values()
    blocks = (p for p in parts if inspect.isclass(p) and p.__name__.endswith("Block") and p is not cls)
    return any({"hidden_states", "x"} & set(inspect.signature(block.forward).parameters) for block in blocks)
