"""Maps of queries and keys made by hand, against the whole matrix in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from diffatlas.capture.attention_fused import call_fused
from diffatlas.capture.attention_maps import Part, maps_of


def brute(query: torch.Tensor, key: torch.Tensor, part: Part, mask: np.ndarray | None = None):
    """(cross, self) by the definition: one matrix, averaged over heads, then over cells, place by place."""
    q, k = query.double().numpy()[:, part.queries], key.double().numpy()
    k = np.repeat(k, len(q) // len(k), 0)
    logits = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    if mask is not None:
        logits = np.where(mask, logits, -np.inf)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p = (p / p.sum(-1, keepdims=True)).mean(0)
    rows, columns = part.grid
    cross = None if part.text is None else p[:, part.text].T.reshape(-1, rows, columns)
    own = None
    if part.image is not None:
        tall, wide = part.cells
        own = np.zeros((tall, wide, tall, wide))
        counts = np.zeros((tall, wide))
        for place, shares in enumerate(p[:, part.image]):
            at = place // columns // part.cell, place % columns // part.cell
            counts[at] += 1
            for other, share in enumerate(shares):
                own[at][other // columns // part.cell, other % columns // part.cell] += share
        own /= counts[..., None, None]
    return cross, own


def made(heads: int, places: int, text: int, spread: float, seed: int = 0, shared: int = 1):
    rng = torch.Generator().manual_seed(seed)
    query = torch.randn(heads, places, 16, generator=rng) * spread
    key = torch.randn(heads // shared, text + places, 16, generator=rng) * spread
    return query, key


@pytest.mark.parametrize(
    ("grid", "cell", "text", "spread"),
    [
        ((8, 8), 1, 0, 1.0),
        ((8, 8), 2, 0, 1.0),
        ((6, 10), 2, 5, 1.0),  # joint, pooled
        ((5, 7), 2, 5, 1.0),  # cells at the edge hold fewer places
        ((8, 8), 2, 3, 6.0),  # far from even
        ((24, 24), 1, 0, 1.0),  # more than one chunk a head
    ],
)
def test_maps_are_those_of_the_whole_matrix(grid, cell, text, spread) -> None:
    places = grid[0] * grid[1]
    query, key = made(4, places, text, spread)
    part = Part(slice(0, places), grid, slice(0, text) if text else None, slice(text, text + places), cell)
    for found, wanted in zip(maps_of(query, key, part), brute(query, key, part), strict=True):
        assert (found is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-3, atol=1e-6)


def test_text_that_is_not_kept_still_takes_its_share() -> None:
    query, key = made(2, 16, 4, 1.0)
    part = Part(slice(0, 16), (4, 4), None, slice(4, 20), 2)
    cross, own = maps_of(query, key, part)
    assert cross is None
    assert own.sum((2, 3)).max() < 0.95
    np.testing.assert_allclose(own.numpy(), brute(query, key, part)[1], rtol=2e-3, atol=1e-6)


def test_a_bound_of_the_logits_that_is_far_off_is_not_used() -> None:
    # One key is very long and at right angles to every query: the product of the norms says logits of hundreds,
    # where none exceeds a few, and every exponential would vanish.
    query, key = made(2, 64, 0, 1.0)
    query[..., 0], key[..., 0] = 0.0, 0.0
    key[:, 5, 0] = 4000.0
    part = Part(slice(0, 64), (8, 8), None, slice(0, 64), 2)
    _, own = maps_of(query, key, part)
    np.testing.assert_allclose(own.numpy(), brute(query, key, part)[1], rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(own.sum((2, 3)).numpy(), 1.0, atol=2e-3)


@pytest.mark.parametrize("known", [False, True], ids=["", "with the log-sum-exp"])
@pytest.mark.parametrize("common", [30.0, 300.0, 1000.0])
def test_logits_alike_in_a_large_part_keep_their_differences(common: float, known: bool) -> None:
    # Every key has a large part in common, as keys have in practice: a softmax does not see it.
    query, key = made(2, 64, 16, 1.0)
    query, key = query + 2.0, key + common
    log_sum_exp = None
    if known:
        value = torch.zeros_like(key)[None]
        log_sum_exp = call_fused(lambda: scaled_dot_product_attention(query[None], key[None], value))[
            1
        ].log_sum_exp[0]
    part = Part(slice(0, 64), (8, 8), slice(0, 16), slice(16, 80), 1)
    wanted = brute(query, key, part)
    for found, whole in zip(maps_of(query, key, part, log_sum_exp=log_sum_exp), wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), whole, rtol=1e-3, atol=1e-6)


def test_heads_that_share_keys_and_queries_that_may_look_nowhere() -> None:
    query, key = made(4, 16, 3, 1.0, shared=2)
    mask = np.ones((1, 16, 19), dtype=bool)
    mask[:, :, 1] = False
    part = Part(slice(0, 16), (4, 4), slice(0, 3), slice(3, 19), 2)
    wanted = brute(query, key, part, mask)
    for found, whole in zip(maps_of(query, key, part, None, torch.from_numpy(mask)), wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), whole, rtol=2e-3, atol=1e-6)
    mask[:, 6] = False
    cross, _ = maps_of(query, key, part, None, torch.from_numpy(mask))
    assert not cross[:, 1, 2].any()
    assert torch.isfinite(cross).all()
