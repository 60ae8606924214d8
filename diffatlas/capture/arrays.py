"""Tensors of a live pipeline as NumPy arrays that nothing else will write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a contiguous CPU copy. float32 and float16 stay; bfloat16 becomes float32, without loss."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.to("cpu", copy=True, memory_format=torch.contiguous_format).numpy()
