"""How far two paths are apart by state, as a figure."""

import math

from diffatlas import figures
from tests.figures.written import HOSTILE, written


def test_every_state_is_drawn_and_the_largest_distance_said():
    made = figures.departure([0.0, 0.0, 0.5, math.nan, 0.25], first=2)
    line, peak = made.data
    assert list(line.x) == [0, 1, 2, 3, 4]
    assert list(line.y) == [0, 0, 0.5, None, 0.25]
    assert (list(peak.x), list(peak.y)) == ([2], [0.5])
    assert "at most 0.5, at state 2" in made.layout.meta["says"]
    assert [shape.x0 for shape in made.layout.shapes] == [2]
    assert not figures.departure([0.0, 0.1]).layout.shapes


def test_names_are_escaped():
    assert "<a" not in written(figures.departure([0.0, 1.0], name=HOSTILE))
