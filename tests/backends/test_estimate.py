import math

import pytest

from diffatlas.backends.bounds import Bounds, together
from diffatlas.backends.estimate import Estimate, Memory, Pace, Work, fit
from diffatlas.capture.spec import Capture
from diffatlas.errors import ModelLoadError, OverBound
from diffatlas.params import GenerationParams

WORK = Work(linear=3e8, quadratic=2e7, largest_linear=2e7, largest_quadratic=8e6)
FIXED, SLOPE, DECODING = 0.02, 2e-11, 0.015


def pass_seconds(area, rows):
    """The model of `diffatlas.backends.estimate`, written out again."""
    return FIXED + SLOPE * rows * (WORK.linear * area + WORK.quadratic * area * area)


@pytest.fixture
def pace():
    """A model of 64 x 64 of which passes at two sizes were timed."""
    pace = Pace((64, 64), work=WORK, decoder_work=WORK, memory=Memory(row=1e6, picture=3e6))
    for area in (1.0, 4.0):
        # The first was disturbed.
        for late in (9.0, 1.0, 1.0):
            pace.note_pass(area, 2, pass_seconds(area, 2) * late)
            pace.note_decoding(area, DECODING * area)
    return pace


def asked(**more):
    given = {"prompt": "a red circle", "num_inference_steps": 10, "width": 64, "height": 64}
    return GenerationParams(**(given | more))


def seconds(pace, capture=None, **more):
    return pace.estimate(asked(**more), capture or Capture()).seconds


@pytest.mark.parametrize("side", [32, 64, 256, 1024])
def test_passes_that_follow_the_model_are_found_again_at_any_size(pace, side):
    area = (side / 64) ** 2
    wanted = 10 * pass_seconds(area, 2) + DECODING * area
    assert seconds(pace, width=side, height=side) == pytest.approx(wanted, rel=1e-6)


def test_what_a_request_asks_for_counts(pace):
    whole = seconds(pace)
    decoding = DECODING
    without = 10 * pass_seconds(1, 1) + decoding
    assert seconds(pace, guidance_scale=1.0) == pytest.approx(without)
    assert seconds(pace, guidance_method="pag") == pytest.approx(10 * pass_seconds(1, 3) + decoding)
    assert seconds(pace, num_images_per_prompt=4) == pytest.approx(10 * pass_seconds(1, 8) + 4 * decoding)
    assert seconds(pace, scheduler="heun") == pytest.approx(20 * pass_seconds(1, 2) + decoding)
    previews = Capture(previews=3, preview_decoder="vae")
    assert seconds(pace, previews) == pytest.approx(whole + 4 * decoding)
    assert seconds(pace, Capture(previews="every")) == pytest.approx(whole)
    places = seconds(pace, Capture(attention="self"), width=512, height=512)
    assert places > 1.2 * seconds(pace, width=512, height=512)


def test_memory_is_twice_what_is_alive_in_the_passes_or_in_the_decoder(pace):
    assert pace.estimate(asked(width=128, height=64), Capture()).memory == 2 * (2 * 3e6)
    four = pace.estimate(asked(num_images_per_prompt=4), Capture()).memory
    assert four == 2 * (4 * 3e6)
    pace.memory = Memory(row=5e6, picture=3e6)
    assert pace.estimate(asked(), Capture()).memory == 2 * (2 * 5e6)


def test_the_longest_layer_is_its_share_of_a_pass(pace):
    small, large = (pace.estimate(asked(width=side, height=side), Capture()).layer for side in (64, 1024))
    # The decoder's largest layer at the model's size; attention between all places at sixteen times its sides.
    assert small == pytest.approx(DECODING * WORK.largest_linear / (WORK.linear + WORK.quadratic))
    assert large == pytest.approx(SLOPE * 2 * WORK.largest_quadratic * 256**2)


def test_nothing_is_known_before_something_was_timed():
    assert Pace((64, 64), work=WORK).estimate(asked(), Capture()) is None


def test_a_fit_is_never_negative():
    for times in ({1.0: 2.0, 4.0: 1.0}, {1.0: 1.0, 4.0: 100.0}, {1.0: 1.0}, {2.0: 3.0, 2.0000001: 5.0}):
        fixed, slope = fit(times)
        assert fixed >= 0
        assert slope > 0
        assert math.isfinite(fixed + slope)


def test_a_small_model_is_tried_out_and_then_known(backend, sd_folder):
    params = asked(model=str(sd_folder))
    found = backend.measure(params)
    assert isinstance(found, Estimate)
    assert found.own == (64, 64)
    assert found.memory > 100_000
    assert backend.estimate(params) is not None
    twice = backend.estimate(params.replace(num_inference_steps=20))
    assert 1.5 < twice.seconds / found.seconds < 2.1
    # A run at another size is taken in.
    list(backend.trace(params.replace(width=96, height=64, num_inference_steps=3)))
    passes = next(iter(p for key, p in backend._paces._paces.items() if key[0] == str(sd_folder.resolve())))
    assert 1.5 in {area for area, _ in passes.passes}


def test_a_model_that_is_not_there_is_named(backend):
    with pytest.raises(ModelLoadError):
        backend.measure(asked(model="someone/nothing-here"))


def test_a_busy_machine_makes_a_request_slow_and_no_larger(pace):
    """Passes that others slow down tell how long it takes; whether it may run goes by the fastest."""
    alone = pace.estimate(asked(), Capture())
    for _ in range(20):
        pace.note_pass(1.0, 2, 10 * pass_seconds(1.0, 2))
        pace.note_pass(4.0, 2, 10 * pass_seconds(4.0, 2))
        pace.note_decoding(1.0, 10 * DECODING)
    busy = pace.estimate(asked(), Capture())
    assert busy.seconds > 9 * alone.seconds
    assert busy.work == pytest.approx(alone.seconds, rel=1e-6)
    assert busy.layer == pytest.approx(alone.layer, rel=1e-6)
    bounds = Bounds(2 * alone.seconds, math.inf, layer=2 * alone.layer)
    bounds.check(busy)
    bounds.check(together([busy]))
    with pytest.raises(OverBound):
        bounds.check(together([busy] * 3))
