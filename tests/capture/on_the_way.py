"""Copies that are on their way until they are waited for, as those of a GPU are: on the CPU they are there at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from diffatlas.capture import arrays


class Arrival:
    """Brings the numbers when somebody waits for them."""

    def __init__(self, host: torch.Tensor, numbers: torch.Tensor) -> None:
        self._host, self._numbers = host, numbers

    def synchronize(self) -> None:
        self._host.copy_(self._numbers)


@contextmanager
def on_the_way() -> Iterator[None]:
    """Inside the context `arrays.send` gives copies that hold NaN (or 0) until they are waited for."""
    at_once = arrays.send

    def send(tensor: torch.Tensor) -> arrays.Sent:
        numbers = at_once(tensor).tensor
        nothing = float("nan") if numbers.is_floating_point() else 0
        host = torch.full_like(numbers, nothing)
        return arrays.Sent(host, Arrival(host, numbers))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "send", send)
        yield
