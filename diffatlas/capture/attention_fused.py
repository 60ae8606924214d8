"""The log-sum-exp of each query, from the fused kernel that computes a layer's attention.

Fused attention keeps log sum exp(scale q k^T + mask) of each query (Dao 2023, FlashAttention-2, arXiv 2307.08691, sec.
3.1). With it, the probability of any key is one product and one exponential, whatever the other keys are. It is taken
from the very call that the model makes, so that the model's output is what it would have been.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

log = logging.getLogger("diffatlas")
#: Operators that always return it as their second result, and those that do where they are asked to.
ALWAYS = ("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_flash_attention")
ASKED = ("aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_cudnn_attention")
WHOLE = "aten::scaled_dot_product_attention"
#: Whether such an operator, asked for it, has given the same output to the bit: by operator and layout of its inputs.
_same_output: dict[tuple, bool] = {}


@dataclass(frozen=True)
class Fused:
    """What the fused kernel was given, and its log-sum-exp.

    query: (rows, heads, S, D); key: (rows, heads or fewer that are shared, M, D). D may be padded with zeros; ``scale``
    is then given. mask: added to the scaled logits. log_sum_exp: (rows, heads, S) float32, natural logarithm; infinite
    where a query may look nowhere.
    """

    query: torch.Tensor
    key: torch.Tensor
    scale: float | None
    mask: torch.Tensor | None
    causal: bool
    log_sum_exp: torch.Tensor


def call_fused(attend: Callable[[], Any]) -> tuple[Any, Fused | None]:
    """Return what ``attend()`` does, and what the fused kernel in it gives; None where no such kernel runs.

    The output is bit for bit that of a call without this. A kernel that has to be asked for the log-sum-exp is
    compared with itself, asked and not, once for each layout of its inputs; where the outputs differ it is not asked.
    """
    with _mode()() as mode:
        return attend(), mode.found


@functools.cache
def _mode() -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):
        """Sees the operators that are run on this thread while it is entered."""

        def __init__(self) -> None:
            super().__init__()
            self.found: Fused | None = None

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            name = func.name()
            if name == WHOLE:
                # In inference mode the kernels that it is made of are not seen unless it is taken apart.
                with self:
                    return func.decompose(*args, **kwargs)
            if self.found is not None or (name not in ALWAYS and name not in ASKED):
                return func(*args, **kwargs)
            given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
            results = func(*args, **kwargs) if name in ALWAYS else _asked(func, given)
            try:
                self.found = _fused(given, results[1])
            except Exception as error:
                # The model's call goes on; the maps are computed without it.
                log.warning("The log-sum-exp of %s was not read.", name, exc_info=error)
            return results

    return Mode


def _asked(func: Any, given: dict[str, Any]) -> Any:
    """Run an operator that computes the log-sum-exp where it is asked to; ask, where the output is the same then."""
    # With dropout each run draws other numbers.
    if given["compute_log_sumexp"] or given.get("dropout_p"):
        return func(**given)
    layout = _layout(func, given)
    if layout in _same_output:
        return func(**(given | {"compute_log_sumexp": _same_output[layout]}))
    plain = func(**given)
    try:
        asked = func(**(given | {"compute_log_sumexp": True}))
        _same_output[layout] = _are_same(asked[0], plain[0])
    except RuntimeError:
        _same_output[layout] = False
    return asked if _same_output[layout] else plain


def _layout(func: Any, given: dict[str, Any]) -> tuple:
    tensors = [given[name] for name in ("query", "key", "value", "attn_bias")]
    return (
        func.name(),
        bool(given.get("is_causal")),
        given.get("scale"),
        *((tuple(t.shape), t.stride(), t.dtype, t.device) if t is not None else None for t in tensors),
    )


def _are_same(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Whether all bits are the same."""
    import torch

    as_whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return torch.equal(one.view(as_whole), two.view(as_whole))


def _fused(given: dict[str, Any], log_sum_exp: torch.Tensor) -> Fused | None:
    query = given["query"]
    rows, heads, places = query.shape[:3]
    # cuDNN adds an axis of 1, the memory-efficient kernel rounds the number of queries up.
    log_sum_exp = log_sum_exp[..., 0] if log_sum_exp.ndim == 4 else log_sum_exp
    is_whole = log_sum_exp.shape[:2] == (rows, heads) and log_sum_exp.shape[2:] >= (places,)
    if given.get("dropout_p") or not is_whole:
        return None
    mask = given.get("attn_bias") if "attn_bias" in given else given.get("attn_mask")
    causal = bool(given.get("is_causal"))
    return Fused(query, given["key"], given.get("scale"), mask, causal, log_sum_exp[:, :, :places].float())
