"""How values are distributed."""

import numpy as np
import pytest

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry.values import densities, normal_density, value_counts


def test_counts_of_known_values():
    counts, edges = value_counts(np.array([[0.0, 0.5], [1.0, 4.0]]), 4)
    assert counts.tolist() == [2, 1, 0, 1]
    assert edges.tolist() == [0, 1, 2, 3, 4]
    assert densities(counts, edges).tolist() == [0.5, 0.25, 0, 0.25]


def test_equal_values_lie_in_the_middle():
    counts, edges = value_counts(np.full(5, 2.0), 3)
    assert counts.tolist() == [0, 5, 0]
    assert edges[[0, -1]].tolist() == [1.5, 2.5]


def test_the_normal_density_has_area_one_and_its_peak_at_the_mean():
    x = np.linspace(-8, 12, 20001)
    y = normal_density(x, 2.0, 0.7)
    assert np.trapezoid(y, x) == pytest.approx(1)
    assert x[y.argmax()] == pytest.approx(2)
    assert y.max() == pytest.approx(1 / (0.7 * np.sqrt(2 * np.pi)))


def test_what_has_no_distribution_is_refused():
    with pytest.raises(InvalidParams):
        value_counts(np.zeros(0))
    with pytest.raises(NonFiniteLatents):
        value_counts(np.array([0.0, np.nan]))
    with pytest.raises(InvalidParams):
        normal_density(np.zeros(1), 0, 0)
