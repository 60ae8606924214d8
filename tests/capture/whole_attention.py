"""Whole attention matrices in float64, computed apart from what reads them, by hooks on the real layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch


def matrix(query: Any, key: Any, mask: Any = None, scale: float | None = None) -> np.ndarray:
    """softmax(Q K^T scale + mask) of (rows, heads, S, D) and (rows, heads, M, D) as (rows, heads, S, M)."""
    q, k = query.detach().double().numpy(), key.detach().double().numpy()
    k = np.repeat(k, q.shape[1] // k.shape[1], 1)
    logits = np.einsum("bhsd,bhmd->bhsm", q, k) * (scale or 1 / math.sqrt(q.shape[-1]))
    if mask is not None:
        mask = mask.detach().numpy()
        logits = np.where(mask, logits, -np.inf) if mask.dtype == bool else logits + mask
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


@contextmanager
def first_matrices(denoiser: Any) -> Iterator[list[dict[str, np.ndarray]]]:
    """Collect, for each call of a denoiser, the first matrix (rows, heads, S, M) of each attention layer by its name.

    Where a layer computes its scores by itself, it is what it computed.
    """
    from diffusers.models.attention_processor import Attention

    held, scores = Attention.__dict__["get_attention_scores"], Attention.get_attention_scores
    attend = torch.nn.functional.scaled_dot_product_attention
    calls: list[dict[str, np.ndarray]] = []
    stack: list[str] = []

    def spy(query: Any, key: Any, value: Any, attn_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        if stack and stack[-1] not in calls[-1]:
            calls[-1][stack[-1]] = matrix(query, key, attn_mask, kwargs.get("scale"))
        return attend(query, key, value, attn_mask, *args, **kwargs)

    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        shares = scores(self, *args, **kwargs)
        if stack and stack[-1] not in calls[-1]:
            calls[-1][stack[-1]] = shares.detach().double().numpy().reshape(-1, self.heads, *shares.shape[1:])
        return shares

    with ExitStack() as hooks:
        hooks.callback(denoiser.register_forward_pre_hook(lambda *_: calls.append({})).remove)
        for name, module in denoiser.named_modules():
            if hasattr(module, "processor") and hasattr(module, "heads"):
                enter = module.register_forward_pre_hook(lambda *_, name=name: stack.append(name))
                leave = module.register_forward_hook(lambda *_: stack.pop() and None)
                hooks.callback(enter.remove)
                hooks.callback(leave.remove)
        torch.nn.functional.scaled_dot_product_attention = spy
        Attention.get_attention_scores = own
        try:
            yield calls
        finally:
            torch.nn.functional.scaled_dot_product_attention = attend
            Attention.get_attention_scores = held


def laid_out(shares: np.ndarray, queries: slice, keys: slice, grid: tuple[int, int]) -> np.ndarray:
    """Return (tokens, rows, columns): what places of the image give to these keys, over the mean of the heads."""
    return shares.mean(0)[queries, keys].T.reshape(-1, *grid)
