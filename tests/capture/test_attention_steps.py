"""Which samples of which denoiser calls are a step's attention, by calls of a real UNet one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import diffatlas.capture.attention as attention
import diffatlas.capture.attention_maps as attention_maps
from diffatlas.capture.attention import AttentionRecorder
from diffatlas.capture.spec import Capture
from tests.capture import other_pipelines as other
from tests.capture.whole_attention import first_matrices

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2"
CROSS = Capture(attention="cross", attention_layers=(LAYER,))


class Loop:
    """Calls a UNet step by step, with other latents and texts each time, and knows every map that it must make."""

    def __init__(self, unet: Any, capture: Capture = CROSS) -> None:
        self.unet, self.capture = unet, capture
        self.recorder = AttentionRecorder(capture, [unet])
        self.index = self.seed = 0
        self.begins = True
        #: Maps (tokens, rows, columns) of each sample, in the order of the calls of the step.
        self.samples: list[np.ndarray] = []

    def call(self, rows: int, total: int | None = 100) -> None:
        self.seed += 1
        args = (other.noise(rows, 4, 16, 16, seed=self.seed), 10)
        kwargs = {"encoder_hidden_states": other.noise(rows, 7, 32, seed=self.seed + 1000)}
        with torch.no_grad(), first_matrices(self.unet) as calls:
            plain = self.unet(*args, **kwargs).sample
        self.samples += [m.mean(0).T.reshape(7, 8, 8) for m in calls[0][LAYER]]
        with self.recorder.reading(self.unet, args, kwargs, self.index, total, self.begins), torch.no_grad():
            seen = self.unet(*args, **kwargs).sample
        assert torch.equal(plain, seen)
        self.begins = False

    def step(
        self, calls: Sequence[int], cond: int | None, uncond: int | None = None, batch: int = 1
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        """Return (maps that were read, all maps of the step)."""
        self.samples = []
        for rows in calls:
            self.call(rows)
        self.index += 1
        taken = self.recorder.take(batch, cond, uncond)
        return None if taken is None else taken[f"cross:{LAYER}"].array(), self.samples


@pytest.fixture
def loop(sd_pipe: Any) -> Iterator[Loop]:
    made = Loop(sd_pipe.unet)
    with made.recorder.watching():
        yield made


def assert_near(got: np.ndarray | None, expected: Any) -> None:
    assert got is not None
    np.testing.assert_allclose(got, np.asarray(expected), atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize(
    "steps",
    [
        # (rows of each call, number of the conditional part)
        [([2], 1)] * 3,
        [([1, 1], 0)] * 3,
        [([1, 1], 1)] * 3,
        # Attend-and-Excite: calls that only look ahead, of a number that changes.
        [([1, 1, 1, 2], 4), ([1, 2], 2), ([1, 1, 2], 3), ([2], 1), ([2], 1), ([1, 2], 2)],
        # A perturbed pass comes, and goes.
        [([2], 1), ([2], 1), ([3], 1), ([3], 1), ([2], 1)],
        # Guidance ends, whichever half had come first, and begins again.
        [([2], 1), ([2], 1), ([1], 0), ([1], 0), ([2], 1)],
        [([1, 1], 0), ([1, 1], 0), ([1], 0), ([1], 0), ([1, 1], 0)],
        [([1, 1], 1), ([1, 1], 1), ([1], 0), ([1], 0), ([1, 1], 1)],
    ],
    ids=["doubled", "cond first", "cond second", "look ahead", "pag", "ends 1", "ends 2", "ends 3"],
)
def test_the_conditional_part_is_the_one_that_is_told(loop: Loop, steps: list[Any]) -> None:
    for calls, cond in steps:
        got, samples = loop.step(calls, cond)
        assert_near(got, [samples[cond]])


def test_both_halves_and_batches(sd_pipe: Any) -> None:
    both = Loop(sd_pipe.unet, Capture(attention="cross", attention_halves="both", attention_layers=(LAYER,)))
    with both.recorder.watching():
        for _ in range(2):
            got, s = both.step([4], 1, 0, batch=2)
            assert_near(got, [[s[2], s[3]], [s[0], s[1]]])
        got, s = both.step([2, 2], 0, 1, batch=2)
        assert_near(got, [[s[0], s[1]], [s[2], s[3]]])
        got, s = both.step([2], 0, None, batch=2)
        assert_near(got, [[s[0], s[1]]])


def test_calls_of_no_multiple_of_the_batch_have_no_parts(loop: Loop) -> None:
    for _ in range(2):
        got, s = loop.step([3, 2, 2], 1, batch=2)
        assert_near(got, [s[5], s[6]])


def test_a_step_whose_roles_are_not_told_is_left_out_and_forgotten(loop: Loop) -> None:
    assert_near(*_first(loop.step([2], 1), 1))
    assert loop.step([2], None)[0] is None
    assert_near(*_first(loop.step([2], 1), 1))
    # A part that is not there.
    assert loop.step([1], 1)[0] is None
    assert_near(*_first(loop.step([2], 0), 0))


def _first(step: Any, part: int) -> tuple[Any, Any]:
    return step[0], [step[1][part]]


def test_nothing_rather_than_the_wrong_half(loop: Loop) -> None:
    """The roles change places in a call that looks like that of the step before."""
    assert_near(*_first(loop.step([2], 1), 1))
    assert loop.step([2], 0)[0] is None
    assert_near(*_first(loop.step([2], 0), 0))


def test_only_what_will_be_wanted_is_computed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    maps_of = attention_maps.maps_of

    def counting(*args: Any) -> Any:
        read.append(1)
        return maps_of(*args)

    monkeypatch.setattr(attention_maps, "maps_of", counting)
    for calls, cond in [([2], 1), ([2], 1), ([3], 1), ([1, 1], 1), ([1, 1], 1)]:
        loop.step(calls, cond)
    assert len(read) == 5


def test_what_is_too_much_to_hold_is_read_at_once(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MOST_HELD", 0)
    for calls, cond in [([2], 1), ([1, 2], 2), ([1, 1], 1), ([1, 1], 1), ([1], 0)]:
        got, samples = loop.step(calls, cond)
        if (calls, cond) != ([1], 0):
            assert_near(got, [samples[cond]])


def test_steps_that_are_not_read_still_count(sd_pipe: Any) -> None:
    third = Loop(sd_pipe.unet, Capture(attention="cross", attention_every=3, attention_layers=(LAYER,)))
    with third.recorder.watching():
        for index in range(7):
            got, samples = third.step([2], 1)
            if index % 3:
                assert got is None
            else:
                assert_near(got, [samples[1]])


def test_a_call_begins_with_nothing_of_the_one_before(loop: Loop) -> None:
    loop.step([2], 1)
    loop.call(2)
    loop.begins, loop.index = True, 0
    got, samples = loop.step([2], 0)
    assert_near(got, [samples[0]])


def test_what_fails_in_reading_stays_there(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image goes on, bit for bit, and the reason is kept."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("diffatlas.capture.attention.part_of", broken)
    assert loop.step([2], 1)[0] is None
    with pytest.raises(Exception, match=r"mid_block.*RuntimeError: out of memory"):
        loop.recorder.describe()
