"""Both architectures seen alike: what a caption becomes, how latents are spoiled, and what is to be predicted.

A noise level is u in [0, 1], 0 being clean and 1 pure noise.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from diffatlas.shapes.model import kind_of
from diffatlas.shapes.tokenizer import MAX_LENGTH, token_ids

#: Tokens of zeros that `StableDiffusion3Pipeline` puts where its T5 is missing.
ZERO_TOKENS = 256


class Conditioning(NamedTuple):
    """What the denoiser is told of the captions: tokens (N, tokens, width), and a summary (N, width) for "dit"."""

    context: torch.Tensor
    pooled: torch.Tensor | None

    def take(self, part: slice) -> Conditioning:
        """Return some of the captions."""
        return Conditioning(self.context[part], None if self.pooled is None else self.pooled[part])


class Spoiled(NamedTuple):
    """Noisy latents, what is to be predicted from them, and the timesteps (N,)."""

    noisy: torch.Tensor
    target: torch.Tensor
    timesteps: torch.Tensor


class CountedAttention:
    """Joint attention in which the last context token stands for many equal ones.

    Tokens without a position that begin equal stay equal, so ``count`` of them act as one whose logits are raised by
    log(count). Training is then as on all of them, at a fraction of the cost (`tests/shapes` compares the two).
    """

    def __init__(self, count: int) -> None:
        self.raised = math.log(count)

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any
    ) -> Any:
        """See `diffusers.models.attention_processor`: returns the image's and the context's new states."""
        n, image = hidden_states.shape[:2]

        def heads(x: torch.Tensor, norm: Any) -> torch.Tensor:
            split = x.view(n, -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)
            return split if norm is None else norm(split)

        here, there = hidden_states, encoder_hidden_states
        query = [heads(attn.to_q(here), attn.norm_q), heads(attn.add_q_proj(there), attn.norm_added_q)]
        key = [heads(attn.to_k(here), attn.norm_k), heads(attn.add_k_proj(there), attn.norm_added_k)]
        value = [heads(attn.to_v(here), None), heads(attn.add_v_proj(there), None)]
        q, k, v = (torch.cat(parts, dim=2) for parts in (query, key, value))
        # Written out: of so few tokens, the fused kernel's backward takes half of a step on a CPU.
        logits = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[-1])
        bias = torch.zeros(k.shape[2], device=q.device)
        # An assignment to one place would fetch it from the CPU, which `replay.recorded` cannot record.
        bias[-1:].fill_(self.raised)
        out = (logits + bias).softmax(-1).to(v.dtype) @ v
        out = out.transpose(1, 2).reshape(n, q.shape[2], -1)
        context = out[:, image:]
        return attn.to_out[1](attn.to_out[0](out[:, :image])), (
            context if attn.context_pre_only else attn.to_add_out(context)
        )


def count_zero_tokens(transformer: Any) -> None:
    """Let a transformer take one token of zeros for all `ZERO_TOKENS`, until its processors are set anew."""
    transformer.set_attn_processor(CountedAttention(ZERO_TOKENS))


def shorten(pipe: Any) -> None:
    """Let a "dit" pipeline pass one token of zeros for all: its images stay the same up to rounding, in less time."""
    count_zero_tokens(pipe.transformer)

    def first_words(_: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        words = kwargs["encoder_hidden_states"][:, : MAX_LENGTH + 1]
        return args, {**kwargs, "encoder_hidden_states": words}

    pipe.transformer.register_forward_pre_hook(first_words, with_kwargs=True)


def conditioning(parts: dict[str, Any], ids: torch.Tensor) -> Conditioning:
    """Return what the pipeline would tell the denoiser of captions with these token ids, (N, 24).

    Of "dit" with one token of zeros for all (`count_zero_tokens`).
    """
    if kind_of(parts) == "unet":
        return Conditioning(parts["text_encoder"](ids).last_hidden_state, None)
    found = [parts[name](ids, output_hidden_states=True) for name in ("text_encoder", "text_encoder_2")]
    context = torch.cat([out.hidden_states[-2] for out in found], dim=-1)
    zeros = torch.zeros_like(context[:, :1])
    return Conditioning(
        torch.cat([context, zeros], dim=1), torch.cat([out.text_embeds for out in found], dim=-1)
    )


def spoil(parts: dict[str, Any], latents: torch.Tensor, noise: torch.Tensor, u: torch.Tensor) -> Spoiled:
    """Return latents at noise levels ``u`` (N,), and what is to be predicted.

    "unet": v = a noise - s latents (Salimans & Ho 2022). "dit": noise - latents (Lipman et al. 2023).
    """
    if kind_of(parts) == "dit":
        t = u[:, None, None, None]
        return Spoiled((1 - t) * latents + t * noise, noise - latents, 1000 * u)
    alphas = parts["scheduler"].alphas_cumprod.to(latents.device)
    t = (u * len(alphas)).long().clamp(max=len(alphas) - 1)
    a, s = alphas[t].sqrt()[:, None, None, None], (1 - alphas[t]).sqrt()[:, None, None, None]
    return Spoiled(a * latents + s * noise, a * noise - s * latents, t)


def predict(
    parts: dict[str, Any], noisy: torch.Tensor, timesteps: torch.Tensor, told: Conditioning
) -> torch.Tensor:
    """Return the denoiser's prediction."""
    if kind_of(parts) == "unet":
        return parts["unet"](noisy, timesteps, told.context, return_dict=False)[0]
    return parts["transformer"](
        hidden_states=noisy,
        timestep=timesteps,
        encoder_hidden_states=told.context,
        pooled_projections=told.pooled,
        return_dict=False,
    )[0]


def ids_of(parts: dict[str, Any], captions: list[str], device: str | torch.device = "cpu") -> torch.Tensor:
    """Return the captions' token ids, (N, 24)."""
    return token_ids(parts["tokenizer"], captions, device)
