from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial import distance as reference

from diffatlas.geometry import path

RNG = np.random.default_rng(0)
PATH = RNG.normal(size=(6, 3, 4, 5, 7))
A, B = RNG.normal(size=(2, 3, 4, 5, 7))


def test_measures_of_one_state_agree_with_a_plain_loop() -> None:
    for row in range(3):
        numbers = [float(v) for v in A[row].ravel()]
        mean = math.fsum(numbers) / len(numbers)
        assert path.norm(A)[row] == pytest.approx(math.hypot(*numbers))
        assert path.mean(A)[row] == pytest.approx(mean)
        assert path.std(A)[row] == pytest.approx(
            math.sqrt(math.fsum((v - mean) ** 2 for v in numbers) / len(numbers))
        )
        assert (path.minimum(A)[row], path.maximum(A)[row]) == (min(numbers), max(numbers))


def test_measures_of_two_states_agree_with_scipy() -> None:
    for row in range(3):
        a, b = A[row].ravel(), B[row].ravel()
        assert path.distance(A, B)[row] == pytest.approx(reference.euclidean(a, b))
        assert path.cosine(A, B)[row] == pytest.approx(1 - reference.cosine(a, b))
        assert path.guidance_norm(A, B)[row] == pytest.approx(reference.euclidean(a, b))
        angle = math.degrees(math.acos(1 - reference.cosine(a - b, a)))
        assert path.guidance_angle(A, B)[row] == pytest.approx(angle)


def test_curves_along_a_path() -> None:
    flat = PATH.reshape(6, 3, -1)
    for row in range(3):
        states = flat[:, row]
        to = {
            "previous": [1 - reference.cosine(states[k], states[k - 1]) for k in range(1, 6)],
            "start": [1 - reference.cosine(s, states[0]) for s in states],
            "end": [1 - reference.cosine(s, states[-1]) for s in states],
        }
        np.testing.assert_allclose(path.cosines_to_previous(PATH)[:, row], to["previous"])
        np.testing.assert_allclose(path.cosines_to_start(PATH)[:, row], to["start"])
        np.testing.assert_allclose(path.cosines_to_end(PATH)[:, row], to["end"])
        lengths = [reference.euclidean(states[k], states[k - 1]) for k in range(1, 6)]
        np.testing.assert_allclose(path.step_lengths(PATH)[:, row], lengths)
        np.testing.assert_allclose(
            path.distances_to_end(PATH)[:, row], [reference.euclidean(s, states[-1]) for s in states]
        )
        assert path.path_length(PATH)[row] == pytest.approx(sum(lengths))
        chord = reference.euclidean(states[0], states[-1])
        assert path.straightness(PATH)[row] == pytest.approx(chord / sum(lengths))


def test_straightness_of_known_paths() -> None:
    line = np.linspace(0, 1, 5)[:, None, None] * np.ones((5, 1, 3))
    corner = np.array([[[0.0, 0.0]], [[3.0, 0.0]], [[3.0, 4.0]]])
    still = np.ones((4, 1, 3))
    assert path.straightness(line) == pytest.approx(1)
    assert path.straightness(corner) == pytest.approx(5 / 7)
    assert path.straightness(still) == pytest.approx(1)
    assert path.path_length(still) == pytest.approx(0)


def test_half_precision_does_not_overflow() -> None:
    """The squares of 300 leave the range of float16."""
    x = np.full((1, 4, 8, 8), 300, dtype=np.float16)
    assert path.norm(x) == pytest.approx(300 * 16)
    assert path.cosine(x, x) == pytest.approx(1)


def test_zero_vectors_give_numbers() -> None:
    zero = np.zeros_like(A)
    assert path.cosine(zero, A).tolist() == [0, 0, 0]
    assert path.cosine(zero, zero).tolist() == [0, 0, 0]
    np.testing.assert_allclose(path.guidance_angle(A, A), 90)
    metrics = path.step_metrics(zero, zero, zero, zero, zero)
    assert all(math.isfinite(v) for v in metrics.values())


def test_step_metrics_are_those_of_the_first_image() -> None:
    metrics = path.step_metrics(PATH[2], PATH[1], PATH[0], A, B)
    assert metrics == {
        "norm": path.norm(PATH[2])[0],
        "mean": path.mean(PATH[2])[0],
        "std": path.std(PATH[2])[0],
        "min": path.minimum(PATH[2])[0],
        "max": path.maximum(PATH[2])[0],
        "step_length": path.step_lengths(PATH)[1, 0],
        "cosine_to_previous": path.cosines_to_previous(PATH)[1, 0],
        "cosine_to_start": path.cosines_to_start(PATH)[2, 0],
        "guidance_norm": path.guidance_norm(A, B)[0],
        "guidance_angle": path.guidance_angle(A, B)[0],
    }
    assert all(type(v) is float for v in metrics.values())
    assert not {"guidance_norm", "guidance_angle"} & set(path.step_metrics(PATH[2], PATH[1], PATH[0]))


def test_step_metrics_of_a_step_that_started_elsewhere() -> None:
    """A quarter turn at each step of a square, and a shift of it in between: all is of the true start."""
    before, start, after = (np.array([[[x, y]]]) for x, y in ((3.0, 0.0), (3.0, 4.0), (-4.0, 3.0)))
    first = np.array([[[0.0, -2.0]]])
    metrics = path.step_metrics(after, start, first, before=before)
    assert metrics["step_length"] == pytest.approx(math.hypot(7, 1))
    assert metrics["cosine_to_previous"] == pytest.approx(0)
    assert metrics["between_length"] == pytest.approx(4)
    assert metrics["cosine_to_start"] == pytest.approx(-3 / 5)
    assert "between_length" not in path.step_metrics(after, start, first)


def test_step_metrics_of_states_that_were_measured_before_are_the_same() -> None:
    states = [path.State.of(PATH[k]) for k in range(4)]
    shared = path.step_metrics(states[2], states[1], states[0], A, B, states[3])
    assert shared == path.step_metrics(PATH[2], PATH[1], PATH[0], A, B, PATH[3])
    assert path.cosines_of_first(list(PATH)) == path.cosines_to_end(PATH[:, :1])[:, 0].tolist()


def test_step_metrics_leave_out_what_compares_two_shapes() -> None:
    small, large = A[..., :3], A
    grown = path.step_metrics(large, small, small, before=large)
    assert set(grown) == {"norm", "mean", "std", "min", "max"}
    changed = path.step_metrics(large, large, small, before=large)
    assert changed["step_length"] == changed["between_length"] == 0
    assert "cosine_to_start" not in changed


def test_measures_of_a_path_with_starts_agree_with_a_plain_loop() -> None:
    states, own = PATH.reshape(6, 3, -1), RNG.normal(size=(5, 3, 140))
    starts = [None, own[1], None, own[3], own[4]]
    shaped = [None if s is None else s.reshape(3, 4, 5, 7) for s in starts]
    for row in range(3):
        began = [(states[k] if starts[k] is None else starts[k])[row] for k in range(5)]
        ended = states[1:, row]
        lengths = [reference.euclidean(x, y) for x, y in zip(began, ended, strict=True)]
        moved = [reference.euclidean(x, y) for x, y in zip(began, states[:5, row], strict=True)]
        assert [k for k in range(5) if moved[k] > 0] == [1, 3, 4]
        turns = [
            math.degrees(math.acos(1 - reference.cosine(ended[k] - began[k], ended[k + 1] - began[k + 1])))
            for k in range(4)
        ]
        cosines = [1 - reference.cosine(x, y) for x, y in zip(began, ended, strict=True)]
        np.testing.assert_allclose(path.step_lengths(PATH, shaped)[:, row], lengths)
        np.testing.assert_allclose(path.between_lengths(PATH, shaped)[:, row], moved)
        np.testing.assert_allclose(path.cosines_to_previous(PATH, shaped)[:, row], cosines)
        np.testing.assert_allclose(path.curvatures(PATH, shaped)[:, row], turns)
        assert path.mean_curvature(PATH, shaped)[row] == pytest.approx(sum(turns) / 4)
        assert path.path_length(PATH, shaped)[row] == pytest.approx(sum(lengths))
        chord = reference.euclidean(states[0, row], states[-1, row])
        way = sum(lengths) + sum(moved)
        assert path.straightness(PATH, shaped)[row] == pytest.approx(chord / way)


def test_without_starts_nothing_changes() -> None:
    for measure in (
        path.step_lengths,
        path.cosines_to_previous,
        path.path_length,
        path.straightness,
        path.curvatures,
        path.mean_curvature,
    ):
        assert measure(PATH, [None] * 5).tobytes() == measure(PATH).tobytes()
    assert path.between_lengths(PATH).tobytes() == np.zeros((5, 3)).tobytes()


def test_a_way_that_was_jumped_is_not_straighter_than_straight() -> None:
    """One step of 1, a jump of 8, one step of 1, all on one line."""
    line = np.array([[[0.0]], [[1.0]], [[10.0]]])
    assert path.path_length(line, [None, np.array([[9.0]])]) == pytest.approx(2)
    assert path.straightness(line, [None, np.array([[9.0]])]) == pytest.approx(1)


def test_chord_and_distances_to_start() -> None:
    flat = PATH.reshape(6, 3, -1)
    for row in range(3):
        expected = [reference.euclidean(s, flat[0, row]) for s in flat[:, row]]
        np.testing.assert_allclose(path.distances_to_start(PATH)[:, row], expected)
        assert path.chord(PATH)[row] == pytest.approx(expected[-1])


@pytest.mark.parametrize("degrees", [0, 1e-4, 30, 90, 150, 179.9999, 180])
def test_angle_of_a_known_turn(degrees: float) -> None:
    a = np.array([[5.0, 0.0]])
    b = 0.1 * np.array([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])
    # An arc cosine of the same vectors is off by up to 1e-6 degrees near 0 and 180.
    assert path.angle(a, b)[0] == pytest.approx(degrees, abs=1e-11)


def test_angle_agrees_with_scipy_and_counts_zero_as_orthogonal() -> None:
    expected = [math.degrees(math.acos(1 - reference.cosine(A[i].ravel(), B[i].ravel()))) for i in range(3)]
    np.testing.assert_allclose(path.angle(A, B), expected)
    assert path.angle(np.zeros_like(A), A).tolist() == [90, 90, 90]


def test_curvature_of_a_circle_a_line_and_a_corner() -> None:
    """A regular polygon of n corners turns by 360 / n at each; a rotation of space changes nothing."""
    turns = np.linspace(0, 2 * np.pi, 25)
    circle = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    rotation, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    batch = np.stack([circle, 7 * circle @ rotation + 2], axis=1)
    np.testing.assert_allclose(path.curvatures(batch), np.full((23, 2), 15.0))
    np.testing.assert_allclose(path.mean_curvature(batch), [15, 15])

    line = np.linspace(0, 1, 6)[:, None, None] ** 2 * np.array([3.0, -1.0, 2.0])
    np.testing.assert_allclose(path.curvatures(line), np.zeros((4, 1)), atol=1e-6)
    corner = np.array([[[0.0, 0.0]], [[3.0, 0.0]], [[3.0, 4.0]], [[3.0, 1.0]]])
    np.testing.assert_allclose(path.curvatures(corner)[:, 0], [90, 180])
    assert path.mean_curvature(corner) == pytest.approx(135)


def test_a_pause_is_no_turn_and_short_paths_have_none() -> None:
    pause = np.array([0.0, 1.0, 1.0, 2.0])[:, None, None] * np.ones((1, 1, 5))
    assert path.curvatures(pause).tolist() == [[0], [0]]
    assert path.curvatures(PATH[:2]).shape == (0, 3)
    assert path.mean_curvature(PATH[:2]).tolist() == [0, 0, 0]
    assert path.mean_curvature(PATH[:1]).tolist() == [0, 0, 0]
