"""Tensors of a live pipeline as NumPy arrays that nothing else will write to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sent:
    """A tensor on its way to the CPU."""

    _host: torch.Tensor
    #: Of CUDA: what tells that the copy is there. None where it is there already.
    _arrival: Any = None

    @property
    def on_its_way(self) -> bool:
        """Whether reading the numbers may have to wait for a GPU."""
        return self._arrival is not None

    @property
    def tensor(self) -> torch.Tensor:
        """The copy as a tensor on the CPU; its numbers are there once `wait` has returned."""
        return self._host

    def wait(self) -> None:
        """Return once the copy is there."""
        if self._arrival is not None:
            self._arrival.synchronize()

    def array(self) -> np.ndarray:
        """Return the copy as a contiguous array; wait for it where it is not there yet."""
        self.wait()
        if self._arrival is None:
            return self._host.numpy()
        # Pinned memory is scarce, and is handed out again.
        return self._host.numpy().copy()


def send(tensor: torch.Tensor) -> Sent:
    """Begin to copy a tensor to the CPU, as it is now: what is written into it later does not show.

    A GPU goes on computing, and so does the caller; other devices are waited for. float32 and float16 stay; bfloat16
    becomes float32, without loss.
    """
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    if not tensor.is_cuda:
        return Sent(tensor.to("cpu", copy=True, memory_format=torch.contiguous_format))
    # On the CPU also where somebody has made another device the default.
    host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
    # In the stream of what made it: copied after that, and before whatever may write into it.
    with torch.cuda.device(tensor.device):
        host.copy_(tensor, non_blocking=True)
        arrival = torch.cuda.Event()
        arrival.record()
    return Sent(host, arrival)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a contiguous CPU copy. float32 and float16 stay; bfloat16 becomes float32, without loss."""
    return send(tensor).array()
