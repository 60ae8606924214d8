"""The targets that ship with the lab, and those that a user draws or uploads."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.lab2d.mixtures import Boxes, Gaussians, Target

#: Points of a drawing or a table that become components; more are thinned out evenly.
MOST_POINTS = 1000
FEWEST_POINTS = 3
MOST_CLASSES = 8
#: Places whose coverage is counted, where a target has no modes of its own.
MODES = 16
#: Standard deviation of the brush, and of the points of a table, in the plane's units.
JITTER = 0.06
#: The plane that is drawn, and outside of which a drawing cannot be.
EXTENT = 2.5


def eight_gaussians() -> Target:
    """Eight round Gaussians on a ring, each a class."""
    angles = np.arange(8) * np.pi / 4
    means = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    names = tuple(f"{degrees}°" for degrees in range(0, 360, 45))
    return _gaussians("eight_gaussians", means, 0.075, np.arange(8), np.arange(8), names)


def three_modes() -> Target:
    """Three Gaussians of different shape and weight, each a class."""
    means = np.array([[-1.3, -0.6], [1.2, -0.8], [0.1, 1.2]])
    covariances = np.array(
        [[[0.10, 0.06], [0.06, 0.08]], [[0.05, 0.0], [0.0, 0.16]], [[0.20, -0.05], [-0.05, 0.05]]]
    )
    weights = np.array([0.5, 0.3, 0.2])
    labels = np.arange(3)
    parts = Gaussians(means, covariances)
    return _standard(Target("three_modes", parts, weights, labels, labels, ("left", "right", "top")))


def moons() -> Target:
    """Two half circles, one in the other's bend, each a class."""
    t = _even(64) * np.pi
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1)
    return _curves("moons", [upper, lower], ("upper", "lower"), 0.07)


def swiss_roll() -> Target:
    """A spiral; its inner and its outer half are classes."""
    # Equal lengths of a spiral r = t are equal steps of about t^2.
    t = np.sqrt(np.linspace((1.5 * np.pi) ** 2, (4.5 * np.pi) ** 2, 160))
    curve = np.stack([t * np.cos(t), t * np.sin(t)], axis=1) / 7
    return _curves("swiss_roll", [curve[:80], curve[80:]], ("inner", "outer"), 0.06)


def rings() -> Target:
    """Three circles around one centre, each a class."""
    rings = []
    for radius, count in ((0.5, 24), (1.1, 53), (1.7, 82)):
        angles = 2 * np.pi * np.arange(count) / count
        rings.append(radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return _curves("rings", rings, ("inner", "middle", "outer"), 0.05)


def smiley() -> Target:
    """A face: its outline, its eyes and its mouth are classes."""
    angles = 2 * np.pi * np.arange(80) / 80
    outline = 1.6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    eyes = np.array([[-0.55, 0.5], [0.55, 0.5]]).repeat(8, axis=0)
    eyes += 0.08 * np.stack([np.cos(np.arange(16) * np.pi / 4), np.sin(np.arange(16) * np.pi / 4)], axis=1)
    bend = np.pi + np.pi * (0.12 + 0.76 * _even(32))
    mouth = 0.95 * np.stack([np.cos(bend), np.sin(bend)], axis=1) + [0, 0.05]
    return _curves("smiley", [outline, eyes, mouth], ("outline", "eyes", "mouth"), 0.06)


def checkerboard() -> Target:
    """Eight squares of a board of sixteen; the upper and the lower four are classes."""
    corners = np.array([(i, j) for j in range(4) for i in range(4) if (i + j) % 2], float) - 2
    corners *= 0.875
    parts = Boxes(corners, corners + 0.875, 0.02)
    labels = (corners[:, 1] < -0.1).astype(int)
    return Target("checkerboard", parts, np.full(8, 1 / 8), labels, np.arange(8), ("upper", "lower"))


def tree() -> Target:
    """Two trees that branch six times, of long thin Gaussians, each tree a class (in the manner of Karras et al.
    2024, autoguidance, figure 1)."""
    means, covariances, weights, labels, modes = [], [], [], [], []

    def grow(base: np.ndarray, angle: float, length: float, depth: int, label: int, mode: int) -> None:
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        for share in (0.25, 0.75):
            means.append(base + share * length * along)
            covariances.append(
                (length / 4.5) ** 2 * np.outer(along, along) + (0.05 * length) ** 2 * np.outer(across, across)
            )
            weights.append(length)
            labels.append(label)
            modes.append(mode)
        if depth < 6:
            turn = 0.45 + 0.05 * depth
            for k, side in enumerate((-1, 1)):
                below = 2 * mode + k if depth < 3 else mode
                grow(base + length * along, angle + side * turn, 0.72 * length, depth + 1, label, below)

    grow(np.array([0.15, -0.25]), 0.35, 0.95, 0, 0, 1)
    grow(np.array([-0.15, 0.25]), 0.35 + np.pi, 0.95, 0, 1, 1)
    share = np.array(weights) / np.sum(weights)
    named = np.array(modes) + 100 * np.array(labels)
    target = Target(
        "tree", Gaussians(np.array(means), np.array(covariances)), share, np.array(labels),
        np.unique(named, return_inverse=True)[1], ("right", "left"),
    )  # fmt: skip
    return _standard(target)


#: Name -> how it is made, in the order of the menu.
PRESETS: dict[str, Callable[[], Target]] = {
    "eight_gaussians": eight_gaussians,
    "moons": moons,
    "swiss_roll": swiss_roll,
    "rings": rings,
    "checkerboard": checkerboard,
    "smiley": smiley,
    "three_modes": three_modes,
    "tree": tree,
}

#: What they are called.
TITLES = {
    "eight_gaussians": "Eight Gaussians",
    "moons": "Moons",
    "swiss_roll": "Swiss roll",
    "rings": "Rings",
    "checkerboard": "Checkerboard",
    "smiley": "Smiley",
    "three_modes": "Three modes",
    "tree": "Trees",
}


def preset(name: str) -> Target:
    """Return a target that ships. Raises `InvalidParams` for an unknown name."""
    if name not in PRESETS:
        raise InvalidParams(
            f"There is no target {name!r}: choose one of {', '.join(PRESETS)}.", field="target"
        )
    return PRESETS[name]()


def drawn(
    points: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    jitter: float = JITTER,
    name: str = "drawing",
    classes: tuple[str, ...] | None = None,
) -> Target:
    """Return the mixture of a brush's points: equal Gaussians of standard deviation ``jitter``, one a point.

    points: (N, 2) inside the square of `EXTENT`; labels: (N,) whole numbers, made consecutive. More than
    `MOST_POINTS` are thinned out evenly. Raises `InvalidParams`.
    """
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise InvalidParams("A drawing is a list of points with two finite numbers each.", field="target")
    if len(points) < FEWEST_POINTS:
        raise InvalidParams(
            f"Draw at least {FEWEST_POINTS} points, or choose a target that ships.", field="target"
        )
    if np.abs(points).max() > 2 * EXTENT:
        raise InvalidParams(
            f"Points lie within {2 * EXTENT:g} of the centre: scale them down.", field="target"
        )
    if not 0.005 <= jitter <= 1:
        raise InvalidParams("The brush is between 0.005 and 1 wide.", field="target")
    given = np.zeros(len(points), int) if labels is None else np.asarray(labels)
    if given.shape != (len(points),):
        raise InvalidParams("Each point of a drawing has one class.", field="target")
    known, given = np.unique(given, return_inverse=True)
    if len(known) > MOST_CLASSES:
        raise InvalidParams(
            f"A target has at most {MOST_CLASSES} classes; this has {len(known)}.", field="target"
        )
    names = classes or tuple(str(label) for label in known)
    if len(points) > MOST_POINTS:
        keep = np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)
        points, given = points[keep], given[keep]
    if len(np.unique(given)) < len(names):
        raise InvalidParams("Every class needs a point of its own.", field="target")
    covariances = np.broadcast_to(jitter**2 * np.eye(2), (len(points), 2, 2))
    weights = np.full(len(points), 1 / len(points))
    return Target(name, Gaussians(points, covariances), weights, given, _clusters(points), names)


def table_text(data: bytes) -> str:
    """Return the text of a table's file: UTF-8, or UTF-16 with a byte order mark, as spreadsheets write them.

    Raises `InvalidParams` for anything else.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidParams(
            "The table is neither UTF-8 nor UTF-16 with a byte order mark: save it as CSV UTF-8.",
            field="target",
        ) from None


def read_table(text: str) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...] | None]:
    """Read CSV with two columns of numbers and, if there is a third, a class: (points, labels, class names).

    A first line without numbers is a heading. Columns are parted by tabs or semicolons where the first line has some,
    and a number may have a comma for its point then, else by commas. The points are centred and scaled to a mean
    variance of 1, as the presets are. Raises `InvalidParams` naming the line that is wrong.
    """
    text = text.removeprefix("\ufeff")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in "\t;" if mark in first), ",")
    rows = [
        (number, row if delimiter == "," else [*(cell.replace(",", ".") for cell in row[:2]), *row[2:]])
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1)
        if any(map(str.strip, row))
    ]
    if rows and not _number(rows[0][1][0]):
        rows = rows[1:]
    points, names = [], []
    for number, row in rows:
        if len(row) < 2 or not (_number(row[0]) and _number(row[1])):
            raise InvalidParams(
                f"Line {number} of the table has no two numbers: give x, y and, if wanted, a class.",
                field="target",
            )
        points.append((float(row[0]), float(row[1])))
        names.append(row[2].strip() if len(row) > 2 else "")
    if len(points) < FEWEST_POINTS:
        raise InvalidParams(f"The table needs at least {FEWEST_POINTS} lines of points.", field="target")
    values = np.array(points)
    values -= values.mean(axis=0)
    scale = np.sqrt(np.mean(values**2))
    if not scale > 0:
        raise InvalidParams("All points of the table are the same.", field="target")
    classes = tuple(dict.fromkeys(names))
    if len(classes) > MOST_CLASSES:
        raise InvalidParams(
            f"A target has at most {MOST_CLASSES} classes; the table has {len(classes)}.", field="target"
        )
    if len(classes) < 2:
        return values / scale, None, None
    return values / scale, np.array([classes.index(name) for name in names]), classes


def _number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _even(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) / count


def _gaussians(
    name: str, means: np.ndarray, sd: float, labels: np.ndarray, modes: np.ndarray, classes: tuple[str, ...]
) -> Target:
    covariances = np.broadcast_to(sd**2 * np.eye(2), (len(means), 2, 2))
    weights = np.full(len(means), 1 / len(means))
    return _standard(Target(name, Gaussians(means, covariances), weights, labels, modes, classes))


def _curves(name: str, curves: list[np.ndarray], classes: tuple[str, ...], sd: float) -> Target:
    """Equal Gaussians along curves, one class a curve; stretches of each curve are the modes."""
    total = sum(len(curve) for curve in curves)
    labels = np.concatenate([np.full(len(curve), at) for at, curve in enumerate(curves)])
    modes, first = [], 0
    for curve in curves:
        count = max(1, round(MODES * len(curve) / total))
        modes.append(first + (np.arange(len(curve)) * count) // len(curve))
        first += count
    return _gaussians(name, np.concatenate(curves), sd, labels, np.concatenate(modes), classes)


def _standard(target: Target) -> Target:
    """The same target with mean 0 and a mean variance of 1, for which the schedules are made."""
    parts, mean = target.parts, target.mean
    spread = target.weights @ (
        np.sum((parts.means - mean) ** 2, axis=1) + np.trace(parts.covariances, axis1=1, axis2=2)
    )
    scale = np.sqrt(2 / spread)
    moved = Gaussians((parts.means - mean) * scale, parts.covariances * scale**2)
    return Target(target.name, moved, target.weights, target.labels, target.modes, target.classes)


def _clusters(points: np.ndarray) -> np.ndarray:
    """At most `MODES` groups of near points: cells of the tree of Ward's linkage (Ward 1963)."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(points) <= MODES:
        return np.arange(len(points))
    groups = fcluster(linkage(points, "ward"), MODES, criterion="maxclust") - 1
    return np.unique(groups, return_inverse=True)[1]
