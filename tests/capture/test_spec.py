"""Which capture stands for which other one."""

from itertools import product

import pytest

from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams

FLAGS = ("latents", "predictions", "x0", "metrics")
PREVIEWS = ("off", "every", 1, 2, 3, 4, 6)
#: Enough steps for every interval above to show what it leaves out.
STEPS = 25


def pictures(capture):
    """Return every picture that a run of STEPS steps has, as (step, decoder, size)."""
    return {
        (index, capture.preview_decoder, capture.preview_size)
        for index in range(STEPS)
        if capture.wants_preview(index, STEPS)
    }


def test_a_capture_covers_what_it_has_all_of():
    captures = [
        Capture(previews=previews, preview_decoder=decoder, preview_size=size)
        for previews, decoder, size in product(PREVIEWS, ("linear", "vae"), (None, 64, 128))
    ]
    for more, less in product(captures, captures):
        assert more.covers(less) == (pictures(more) >= pictures(less)), (more, less)


@pytest.mark.parametrize("name", FLAGS)
def test_each_array_that_is_asked_for_must_be_there(name):
    without = Capture(**{name: False})
    assert Capture().covers(without)
    assert not without.covers(Capture())
    assert without.covers(without)


def test_a_capture_comes_back_from_its_dict():
    capture = Capture(x0=False, previews=3, preview_decoder="vae", preview_size=64)
    assert Capture.from_dict(capture.to_dict()) == capture
    with pytest.raises(InvalidParams, match="'gradients'"):
        Capture.from_dict({"gradients": "all"})
    with pytest.raises(InvalidParams, match="previews"):
        Capture.from_dict({"previews": "some"})
