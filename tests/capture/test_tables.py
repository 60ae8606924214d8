"""What is read of a scheduler's lists is what they hold, however they are shared, cut or written to."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from diffatlas.capture import arrays, tables


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What is copied to the CPU, which a GPU would be waited for."""
    found: list[torch.Tensor] = []
    send = arrays.send
    monkeypatch.setattr(arrays, "send", lambda tensor: (found.append(tensor), send(tensor))[1])
    return found


def test_a_list_is_copied_once_and_again_after_it_was_written_to(copied: list[torch.Tensor]) -> None:
    sigmas = torch.arange(5.0)
    for _ in range(3):
        np.testing.assert_array_equal(tables.numbers(sigmas), [0, 1, 2, 3, 4])
    assert len(copied) == 1
    sigmas[1:].mul_(2)  # By a view of it.
    np.testing.assert_array_equal(tables.numbers(sigmas), [0, 2, 4, 6, 8])
    assert len(copied) == 2


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_timestep_that_a_pipeline_goes_through_is_looked_up(
    dtype: torch.dtype, copied: list[torch.Tensor]
) -> None:
    timesteps = torch.linspace(900, 100, 9).to(dtype)
    seen = [tables.number(t, timesteps) for part in (timesteps[2:], timesteps[::3]) for t in part]
    seen += [tables.number(t.expand(2).flatten()[0], timesteps) for t in timesteps]
    assert len(copied) == 1
    wanted = [float(t) for part in (timesteps[2:], timesteps[::3], timesteps) for t in part]
    assert seen == wanted


def test_any_other_timestep_is_read_by_itself() -> None:
    timesteps = torch.linspace(900, 100, 9)
    for other in (timesteps[3].clone(), timesteps[3].double(), timesteps.clone()[3:4], 600, 600.0):
        assert tables.number(other, timesteps) == 600
    apart = torch.stack([timesteps, timesteps + 1], dim=1)[:, 1]  # Its numbers do not lie side by side.
    assert [tables.number(t, apart) for t in apart] == (timesteps + 1).tolist()
    with torch.inference_mode():
        uncounted = torch.linspace(900, 100, 9)
        assert tables.number(uncounted[3], uncounted) == 600
        uncounted[3] = 5  # No count tells of it.
        assert tables.number(uncounted[3], uncounted) == 5


def test_copies_go_with_their_tensors() -> None:
    lists = [torch.arange(3.0) + i for i in range(4)]
    for one in lists:
        tables.numbers(one)
    kept = {id(one) for one in lists}
    assert kept <= tables._COPIES.keys()
    del one, lists
    gc.collect()
    assert not kept & tables._COPIES.keys()
