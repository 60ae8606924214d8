"""The log-sum-exp of the kernel that torch chooses, against float64, and the output that it must not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from diffatlas.capture import attention_fused
from diffatlas.capture.attention_fused import call_fused

EFFICIENT, CUDNN = (name.removeprefix("aten::") for name in attention_fused.ASKED)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def log_sum_exp(query: torch.Tensor, key: torch.Tensor, mask: Any = None, scale: Any = None) -> np.ndarray:
    q, k = query.double().numpy(), key.double().numpy()
    k = np.repeat(k, q.shape[1] // k.shape[1], 1)
    logits = np.einsum("bhsd,bhmd->bhsm", q, k) * (scale or q.shape[-1] ** -0.5)
    if mask is not None:
        is_bool = mask.dtype == torch.bool
        logits = np.where(mask.numpy(), logits, -np.inf) if is_bool else logits + mask.double().numpy()
    return np.log(np.exp(logits).sum(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", ["plain", "scale", "bool", "added", "causal", "shared heads"])
def test_it_is_that_of_all_keys_and_the_output_is_the_same(case: str, dtype: torch.dtype) -> None:
    query = noise(2, 21, 4, 20, dtype=dtype).transpose(1, 2)
    key, value = (noise(2, 2 if case == "shared heads" else 4, 13, 20, seed=i, dtype=dtype) for i in (1, 2))
    given: dict[str, Any] = {
        "plain": {},
        "scale": {"scale": 0.3},
        "bool": {"attn_mask": noise(21, 13, seed=3) > -0.5},
        "added": {"attn_mask": noise(2, 1, 21, 13, seed=3, dtype=dtype)},
        "causal": {"is_causal": True},
        "shared heads": {"enable_gqa": True},
    }[case]
    plain = scaled_dot_product_attention(query, key, value, **given)
    output, fused = call_fused(lambda: scaled_dot_product_attention(query, key, value, **given))
    assert torch.equal(output, plain)
    mask = torch.ones(21, 13, dtype=torch.bool).tril() if case == "causal" else given.get("attn_mask")
    expected = log_sum_exp(query, key, mask, given.get("scale"))
    np.testing.assert_allclose(fused.log_sum_exp.numpy(), expected, atol=2e-5)
    assert fused.causal == (case == "causal")
    assert (fused.mask is None) == ("attn_mask" not in given)


@contextmanager
def kernel(name: str, *, other_bits: bool = False, fails: bool = False) -> Iterator[list[bool]]:
    """Give a CUDA operator of torch a CPU implementation, and collect whether it is asked for the log-sum-exp."""
    asked: list[bool] = []

    def run(query: Any, key: Any, value: Any, bias: Any, compute: bool, *args: Any, scale: Any = None) -> Any:
        asked.append(compute)
        if compute and fails:
            raise RuntimeError("no engine for it")
        output, found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=bias, scale=scale
        )
        if compute and other_bits:
            output = torch.nextafter(output, output + 1)
        places = query.shape[2]
        if not compute:
            found = query.new_empty(0)
        elif name == EFFICIENT:  # Rounded up to 32 queries.
            found = torch.nn.functional.pad(found, (0, -places % 32), value=9e9)
        else:
            found = found[..., None]
        none = torch.empty(0, dtype=torch.long)
        if name == EFFICIENT:
            return output, found, none, none
        return output, found, none, none, places, key.shape[2], none, none, none

    attention_fused._same_output.clear()
    library = torch.library.Library("aten", "IMPL")
    library.impl(name, run, "CPU")
    try:
        yield asked
    finally:
        library._destroy()
        attention_fused._same_output.clear()


@pytest.mark.parametrize("name", [EFFICIENT, CUDNN])
def test_a_kernel_that_has_to_be_asked_is_compared_once_and_then_asked(name: str) -> None:
    query, key = noise(2, 3, 21, 16), noise(2, 3, 13, 16, seed=1)
    operator = getattr(torch.ops.aten, name)
    with kernel(name) as asked:
        plain = operator(query, key, key, None, False)[0]
        asked.clear()
        for expected in ([False, True], [True], [True]):
            output, fused = call_fused(lambda: operator(query, key, key, None, False)[0])
            assert torch.equal(output, plain)
            np.testing.assert_allclose(fused.log_sum_exp.numpy(), log_sum_exp(query, key), atol=2e-5)
            assert asked == expected
            asked.clear()
        # Another layout may be another kernel.
        call_fused(lambda: operator(query[:, :, :20], key, key, None, False)[0])
        assert asked == [False, True]


@pytest.mark.parametrize("how", [{"other_bits": True}, {"fails": True}], ids=["other bits", "fails"])
def test_a_kernel_whose_output_would_be_another_is_not_asked(how: dict[str, bool]) -> None:
    query, key = noise(2, 3, 21, 16), noise(2, 3, 13, 16, seed=1)
    operator = getattr(torch.ops.aten, CUDNN)
    with kernel(CUDNN, **how) as asked:
        plain = operator(query, key, key, None, False)[0]
        for _ in range(3):
            output, fused = call_fused(lambda: operator(query, key, key, None, False)[0])
            assert torch.equal(output, plain)
            assert fused is None
        assert asked.count(True) == 1


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 8, 3), (0,), (2, 3)], ids=str)
def test_a_log_sum_exp_of_another_shape_is_left_out(shape: tuple[int, ...]) -> None:
    """The output goes on as it is, whatever an operator of another version gives."""
    query = noise(2, 3, 8, 16)
    library = torch.library.Library("aten", "IMPL")
    library.impl(CUDNN, lambda q, *_, **__: result(q), "CPU")
    none = torch.empty(0, dtype=torch.long)

    def result(q: torch.Tensor) -> Any:
        return q + 1, noise(*shape), none, none, 8, 8, none, none, none

    try:
        operator = getattr(torch.ops.aten, CUDNN)
        output, fused = call_fused(lambda: operator(query, query, query, None, True)[0])
    finally:
        library._destroy()
    assert torch.equal(output, query + 1)
    assert fused is None


@pytest.mark.parametrize("guard", [torch.inference_mode, torch.enable_grad])
def test_it_is_read_whether_or_not_gradients_are_kept(guard: Any) -> None:
    query = noise(1, 2, 8, 16).requires_grad_()
    with guard():
        plain = scaled_dot_product_attention(query, query, query)
        output, fused = call_fused(lambda: scaled_dot_product_attention(query, query, query))
    assert torch.equal(output, plain)
    assert (output.grad_fn is None) == (plain.grad_fn is None)
    expected = log_sum_exp(query.detach(), query.detach())
    np.testing.assert_allclose(fused.log_sum_exp.detach().numpy(), expected, atol=2e-5)


def test_with_dropout_nothing_is_run_twice() -> None:
    query = noise(1, 2, 8, 16)
    with kernel(EFFICIENT) as asked:
        operator = getattr(torch.ops.aten, EFFICIENT)
        _, fused = call_fused(lambda: operator(query, query, query, None, False, 0.5)[0])
    assert fused is None
    assert asked == [False]


def test_what_is_no_fused_kernel_gives_none() -> None:
    query = noise(1, 2, 8, 16)
    output, fused = call_fused(lambda: (query @ query.transpose(-1, -2)).softmax(-1) @ query)
    assert fused is None
    assert torch.equal(output, (query @ query.transpose(-1, -2)).softmax(-1) @ query)
