from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi, kstest

from diffatlas.errors import InvalidParams
from diffatlas.geometry.noise import LARGEST_SEED, derived_seeds, perturb, seeds_around, slerp

D = 256


def noise(seed: int, shape: tuple[int, ...] = (4, 8, 8)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("radius", [0.1, 0.5, 0.9])
def test_the_norm_of_perturbed_noise_has_the_chi_distribution(radius: float) -> None:
    pairs = [(noise(seed), noise(1_000_000 + seed)) for seed in range(2000)]
    norms = [np.linalg.norm(perturb(x, eps, radius)) for x, eps in pairs]
    assert kstest(norms, chi(D).cdf).pvalue > 0.01
    # The test is able to tell: a sum without the first factor lies outside the sphere.
    wrong = [np.linalg.norm(x + radius * eps) for x, eps in pairs]
    assert kstest(wrong, chi(D).cdf).pvalue < 0.001


def test_perturbed_noise_is_standard_normal_and_correlates_as_it_should() -> None:
    x, eps = noise(0, (200_000,)), noise(1, (200_000,))
    near = perturb(x, eps, 0.6)
    assert kstest(near, "norm").pvalue > 0.01
    assert np.corrcoef(x, near)[0, 1] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_ends_are_exact(dtype: type) -> None:
    a, b = noise(0).astype(dtype), noise(1).astype(dtype)
    for mix in (perturb, slerp):
        for t, expected in ((0, a), (0.0, a), (1, b), (1.0, b)):
            found = mix(a, b, t)
            assert found.dtype == dtype
            assert found.tobytes() == expected.tobytes()
            assert not np.shares_memory(found, expected)


def test_slerp_walks_the_great_circle_at_an_even_pace() -> None:
    """Against the rotation matrix of the plane of both, which knows nothing of sines of fractions."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 50))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    across = b - (a @ b) * a
    across /= np.linalg.norm(across)
    whole = math.acos(a @ b)
    for t in np.linspace(0, 1, 9):
        expected = math.cos(t * whole) * a + math.sin(t * whole) * across
        np.testing.assert_allclose(slerp(a, b, float(t)), expected, atol=1e-12)


def test_slerp_keeps_the_norm_of_high_dimensional_noise_where_a_line_does_not() -> None:
    a, b = noise(0, (4, 64, 64)), noise(1, (4, 64, 64))
    middle = np.linalg.norm(slerp(a, b, 0.5)) / math.sqrt(a.size)
    assert middle == pytest.approx(1, abs=0.02)
    assert np.linalg.norm((a + b) / 2) / math.sqrt(a.size) == pytest.approx(math.sqrt(0.5), abs=0.02)


def test_slerp_of_the_same_noise_and_of_zeros_is_linear() -> None:
    a = noise(0)
    np.testing.assert_allclose(slerp(a, a, 0.3), a, rtol=1e-14)
    np.testing.assert_allclose(slerp(a, 2 * a, 0.5), 1.5 * a, rtol=1e-14)
    assert (slerp(0 * a, a, 0.25) == 0.25 * a).all()
    # Just beside the linear case the two formulas meet.
    near = a + 1e-5 * noise(1)
    np.testing.assert_allclose(slerp(a, near, 0.3), 0.7 * a + 0.3 * near, rtol=1e-8, atol=1e-9)


def test_slerp_between_opposites_is_refused() -> None:
    with pytest.raises(InvalidParams, match="opposite"):
        slerp(noise(0), -noise(0), 0.5)


def test_float16_noise_too_long_for_float16_sums() -> None:
    a, b = (3 * noise(2, (4, 128, 128))).astype(np.float16), (3 * noise(7, (4, 128, 128))).astype(np.float16)
    found = slerp(a, b, 0.5)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, slerp(a.astype(float), b.astype(float), 0.5), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16"])
def test_torch_and_numpy_agree(kind: str) -> None:
    import torch

    dtype = getattr(torch, kind)
    a, b = torch.tensor(noise(0)).to(dtype), torch.tensor(noise(1)).to(dtype)
    for mix in (perturb, slerp):
        assert torch.equal(mix(a, b, 0), a)
        assert torch.equal(mix(a, b, 1), b)
        found = mix(a, b, 0.37)
        assert found.dtype == dtype
        expected = mix(a.double().numpy(), b.double().numpy(), 0.37)
        assert torch.equal(found, torch.tensor(expected).to(dtype))


@pytest.mark.parametrize("wrong", [-0.1, 1.01, math.nan, math.inf, "0.5", None, True])
def test_shares_outside_the_interval_are_refused(wrong: object) -> None:
    with pytest.raises(InvalidParams, match="from 0 to 1") as raised:
        perturb(noise(0), noise(1), wrong)
    assert raised.value.field == "radius"
    with pytest.raises(InvalidParams, match="from 0 to 1"):
        slerp(noise(0), noise(1), wrong)


def test_shapes_must_agree() -> None:
    for mix in (perturb, slerp):
        with pytest.raises(InvalidParams, match="different shapes"):
            mix(noise(0), noise(0, (4, 8, 1)), 0.5)


@pytest.mark.parametrize(
    ("anchor", "k", "offset"),
    [(42, 6, 1000), (0, 5, 5), (3, 8, 5), (7, 1, 1), (LARGEST_SEED, 10, 10), (2**62, 64, 2**64)],
)
def test_seeds_around_are_near_distinct_and_not_the_anchor(anchor: int, k: int, offset: int) -> None:
    seeds = seeds_around(anchor, k, offset)
    assert len(set(seeds)) == len(seeds) == k
    assert anchor not in seeds
    assert all(0 <= s <= LARGEST_SEED and abs(s - anchor) <= offset for s in seeds)
    assert seeds == seeds_around(anchor, k, offset)
    assert seeds[: k // 2 or 1] == seeds_around(anchor, k // 2 or 1, offset)


def test_every_seed_in_reach_is_used_where_all_are_needed() -> None:
    assert sorted(seeds_around(3, 8, 5)) == [0, 1, 2, 4, 5, 6, 7, 8]
    with pytest.raises(InvalidParams, match="Only 8 seeds") as raised:
        seeds_around(3, 9, 5)
    assert raised.value.field == "offset"
    assert seeds_around(0, 1, 1) == (1,)


def test_seeds_around_favour_no_place() -> None:
    """Uniform on the 200 seeds: the first seeds of many anchors, and all of a large draw."""
    first = [seeds_around(1000 + a, 1, 100)[0] - 1000 - a for a in range(4000)]
    assert kstest(np.add(first, 100) / 200, "uniform").pvalue > 0.001
    assert kstest(np.divide(seeds_around(10**9, 5000, 10**8), 10**8) - 9, "uniform", (0, 2)).pvalue > 0.001


def test_derived_seeds_are_fixed() -> None:
    """The words of a SeedSequence are stable by NumPy's promise: stored studies hang on these numbers."""
    assert derived_seeds(42, 3) == (3314570292, 659807111, 273466576)
    assert derived_seeds(42, 64)[:3] == derived_seeds(42, 3)
    assert derived_seeds(43, 3) != derived_seeds(42, 3)
    many = derived_seeds(5, 20_000)
    assert len(set(many)) == 20_000
    assert 5 not in many
    assert kstest(np.divide(many, 2**32), "uniform").pvalue > 0.001


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: derived_seeds(-1, 3), "seed"),
        (lambda: derived_seeds(1, 0), "k"),
        (lambda: derived_seeds(1, 2.5), "k"),
        (lambda: seeds_around(-1, 3, 10), "seed"),
        (lambda: seeds_around(1, 0, 10), "k"),
        (lambda: seeds_around(1, True, 10), "k"),
        (lambda: seeds_around(1, 3, 0), "offset"),
        (lambda: seeds_around(1, 10**12, 10**15), "k"),
    ],
)
def test_bad_numbers_name_their_field(call, field: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        call()
    assert raised.value.field == field
