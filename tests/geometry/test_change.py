from __future__ import annotations

import math

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.geometry.change import as_grid, channel_change, spatial_change
from diffatlas.geometry.path import step_lengths

RNG = np.random.default_rng(0)
PATH = RNG.normal(size=(4, 2, 3, 5, 6)).astype(np.float32)


def test_changes_agree_with_plain_loops() -> None:
    channels, places = channel_change(PATH), spatial_change(PATH)
    assert (channels.shape, places.shape) == ((3, 2, 3), (3, 2, 5, 6))
    steps = [[float(v) for v in (PATH[k + 1].astype(float) - PATH[k]).ravel()] for k in range(3)]
    for k in range(3):
        step = np.array(steps[k]).reshape(2, 3, 5, 6)
        for b in range(2):
            for c in range(3):
                squares = [step[b, c, y, x] ** 2 for y in range(5) for x in range(6)]
                assert channels[k, b, c] == pytest.approx(math.sqrt(math.fsum(squares) / 30))
            squares = [step[b, c, 1, 4] ** 2 for c in range(3)]
            assert places[k, b, 1, 4] == pytest.approx(math.sqrt(math.fsum(squares) / 3))


def test_both_maps_hold_the_step_length() -> None:
    lengths = step_lengths(PATH) ** 2
    np.testing.assert_allclose((channel_change(PATH) ** 2).sum(2) * 30, lengths)
    np.testing.assert_allclose((spatial_change(PATH) ** 2).sum((2, 3)) * 3, lengths)


def test_a_change_between_steps_is_in_no_step() -> None:
    path, start = PATH.copy(), PATH[2].copy()
    path[1, :, :, 2, 3] += 50
    start[:, 1] -= 0.25
    starts = [None, path[1] - 0.5, start]
    began = [path[0], path[1] - 0.5, start]
    for k in range(3):
        moved = path[k + 1].astype(float) - began[k]
        channels = [[math.sqrt((moved[b, c] ** 2).sum() / 30) for c in range(3)] for b in range(2)]
        places = [[math.sqrt((moved[b, :, y, 4] ** 2).sum() / 3) for y in range(5)] for b in range(2)]
        np.testing.assert_allclose(channel_change(path, starts)[k], channels)
        np.testing.assert_allclose(spatial_change(path, starts)[k, :, :, 4], places)
    assert channel_change(path, [None] * 3).tobytes() == channel_change(path).tobytes()


def test_a_change_is_seen_where_it_is() -> None:
    path = np.zeros((3, 1, 4, 8, 8), np.float16)
    path[2, 0, 1, 2, 5] = 300  # its square leaves the range of float16
    channels, places = channel_change(path), spatial_change(path)
    assert np.argwhere(channels).tolist() == [[1, 0, 1]]
    assert np.argwhere(places).tolist() == [[1, 0, 2, 5]]
    assert (channels.max(), places.max()) == (pytest.approx(300 / 8), pytest.approx(300 / 2))


def test_a_path_of_one_state_has_no_steps() -> None:
    assert channel_change(PATH[:1]).shape == (0, 2, 3)
    assert spatial_change(PATH[:1]).shape == (0, 2, 5, 6)


def test_packed_latents_are_refused() -> None:
    for change in (channel_change, spatial_change):
        with pytest.raises(InvalidParams, match=r"\(4, 2, 3, 30\)"):
            change(PATH.reshape(4, 2, 3, 30))


@pytest.mark.parametrize(
    ("width", "height", "rows", "columns"),
    [
        (256, 256, 16, 16),
        (512, 256, 16, 32),
        (1024, 576, 36, 64),
        (576, 1024, 64, 36),
        (1000, 700, 43, 62),  # 62.5 by 43.75 tokens of 16 pixels: the rest is cut off
        (16, 4096, 256, 1),
    ],
)
def test_packed_latents_are_laid_out_by_the_aspect_ratio(width, height, rows, columns) -> None:
    """FLUX packs a grid row by row, (height // 16) x (width // 16) tokens."""
    grid = RNG.normal(size=(3, 2, 5, rows, columns))
    packed = grid.reshape(3, 2, 5, rows * columns).swapaxes(2, 3)
    np.testing.assert_array_equal(as_grid(packed, width, height), grid)


@pytest.mark.parametrize(("tokens", "width", "height"), [(255, 256, 256), (256, 1024, 300), (7, 512, 512)])
def test_tokens_that_do_not_fill_the_picture(tokens: int, width: int, height: int) -> None:
    assert as_grid(np.zeros((2, 1, tokens, 4)), width, height) is None


def test_latents_that_are_grids_already() -> None:
    np.testing.assert_array_equal(as_grid(PATH, 48, 40), PATH)
    np.testing.assert_array_equal(as_grid(PATH[:, :, :, None], 48, 40), PATH)
    assert as_grid(np.zeros((2, 1, 4, 3, 8, 8)), 64, 64) is None
    assert as_grid(np.zeros((2, 1, 64)), 64, 64) is None
