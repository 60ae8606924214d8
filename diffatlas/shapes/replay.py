"""Record the kernels of a function once, and replay them.

A training step of so small a model is thousands of small kernels, and launching them one by one from Python takes
longer than running them. A CUDA graph launches them all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

#: Runs before the recording: kernels are chosen and buffers allocated in them.
WARM_UP = 3


def recorded(work: Callable[..., Any], example: Sequence[torch.Tensor]) -> Callable[..., Any]:
    """Return a function that does on the GPU what ``work`` did for ``example``, for tensors of the same shapes.

    Only kernels are recorded: what ``work`` does in Python it does while recording, not later. It must not wait for
    the GPU nor draw random numbers. What it returns lies in the same memory at every call, gradients that it leaves
    do too.
    """
    held = [x.clone() for x in example]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            work(*held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Of this thread alone: another fetches the scenes meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        found = work(*held)

    def replay(*given: torch.Tensor) -> Any:
        for place, x in zip(held, given, strict=True):
            place.copy_(x)
        graph.replay()
        return found

    return replay
