"""The pixels of a picture by value: counted once each, on two scales."""

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.look import NIGHT, PAPER
from tests.figures.written import written

PIXELS = np.random.default_rng(1).integers(0, 256, (30, 20, 3)).astype(np.uint8)


def test_every_pixel_is_counted_in_its_bin_of_each_channel():
    made = figures.picture_values(PIXELS, bins=16)
    assert [trace.name for trace in made.data] == ["red", "green", "blue", "luma"]
    for channel, trace in enumerate(made.data[:3]):
        for (label,), count, middle in zip(trace.customdata, trace.y, trace.x, strict=True):
            low, high = (int(v) for v in label.split(" to "))
            values = PIXELS[..., channel].astype(int)
            assert count == ((values >= low) & (values <= high)).sum()
            assert middle == (low + high + 1) / 2
    assert [sum(trace.y) for trace in made.data] == [600] * 4


def test_what_is_spoken_is_the_fullest_bin():
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:6, :, 0] = 255
    made = figures.picture_values(pixels)
    assert "Red: most, 60, at 252 to 255." in made.layout.meta["spoken"]
    assert "Green: most, 100, at 0 to 3." in made.layout.meta["spoken"]


def test_the_scale_is_chosen_by_buttons_and_one_pixel_is_seen_on_both():
    made = figures.picture_values(PIXELS)
    (menu,) = made.layout.updatemenus
    linear, log = (button.args[0] for button in menu.buttons)
    assert (linear["yaxis.type"], log["yaxis.type"]) == ("linear", "log")
    low, high = log["yaxis.range"]
    assert low < 0
    assert 10**high > max(max(trace.y) for trace in made.data)
    assert log["yaxis.ticktext"][:2] == ["1", "10"]


@pytest.mark.parametrize(("dark", "on"), [(False, PAPER), (True, NIGHT)])
def test_it_has_the_colours_of_its_ground(dark, on):
    drawn = written(figures.picture_values(PIXELS, dark=dark))
    assert all(colour in drawn for colour in (on.red, on.green, on.blue))


def test_what_is_no_picture_is_refused():
    with pytest.raises(InvalidParams):
        figures.picture_values(PIXELS[..., 0])
