"""What is measured of the images of a prompt: the one list that page, shell and report read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.bench.why import paths
from diffatlas.bench.why.basins import Grouped, together
from diffatlas.bench.why.case import Found
from diffatlas.bench.why.reading import Reading
from diffatlas.errors import DiffAtlasError


@dataclass(frozen=True)
class Pairs:
    """A number of every two images of a prompt, (n, n), NaN where there is none. That of an image is the mean over the
    other images that passed. missing: why an image has none; None where it has."""

    table: np.ndarray
    missing: tuple[str | None, ...]


@dataclass(frozen=True)
class Prompt:
    """The images of a prompt, and the groups that they fall into, or why those cannot be told."""

    images: tuple[Reading, ...]
    groups: Grouped | str


@dataclass(frozen=True)
class Measure:
    """A number of an image.

    unit: as it follows the number. between: that of a difference, such as " percentage points". said: what images did
    ("had a mean guidance angle"), and more, less: by how much, where it is larger or smaller. about: its definition.
    tells: what a larger number means. of: the numbers of a prompt's images.
    """

    key: str
    name: str
    unit: str
    between: str
    said: str
    more: str
    less: str
    about: str
    tells: str
    of: Callable[[Prompt], Sequence[Found] | Pairs]


def each(measure: Callable[[Reading], Found]) -> Callable[[Prompt], Sequence[Found]]:
    """Return what measures every image of a prompt by itself. One whose run cannot be read has that as its reason."""

    def of(prompt: Prompt) -> list[Found]:
        found: list[Found] = []
        for image in prompt.images:
            try:
                found.append(image.unseen or measure(image))
            except DiffAtlasError as error:
                found.append(error.message)
        return found

    return of


def _overlap(image: Reading) -> Found:
    return image.looked if isinstance(image.looked, str) else image.looked.most_alike[2]


def _second_share(image: Reading) -> Found:
    return image.looked if isinstance(image.looked, str) else 100 * float(image.looked.shares[1])


def _in_group(prompt: Prompt) -> Pairs:
    count = len(prompt.images)
    if isinstance(prompt.groups, str):
        return Pairs(np.full((count, count), np.nan), (prompt.groups,) * count)
    missing = tuple("It has no picture." if label is None else None for label in prompt.groups.labels)
    return Pairs(100 * together(prompt.groups), missing)


MEASURES = (
    Measure(
        "guidance_angle",
        "Mean guidance angle",
        "°",
        "°",
        "had a mean guidance angle",
        "larger",
        "smaller",
        "The angle between the guidance vector (conditional minus unconditional prediction) and the conditional "
        "prediction, the mean over the steps.",
        "Larger: guidance pulls the image away from what the model predicts for the prompt.",
        each(paths.mean_guidance_angle),
    ),
    Measure(
        "largest_guidance_angle",
        "Largest guidance angle",
        "°",
        "°",
        "had a largest guidance angle",
        "larger",
        "smaller",
        "The same angle at the step at which it is largest.",
        "Larger: at one step at least guidance and prediction point apart.",
        each(paths.largest_guidance_angle),
    ),
    Measure(
        "path_length",
        "Path length",
        "",
        "",
        "had a path through latent space",
        "longer",
        "shorter",
        "The sum of the lengths of the steps, in the units of the latents.",
        "Larger: the way from the noise to the image was longer.",
        each(paths.path_length),
    ),
    Measure(
        "mean_curvature",
        "Curvature of the path",
        "°",
        "°",
        "had a path that turned",
        "more",
        "less",
        "The angle by which each step turns from the one before, the mean over the steps.",
        "Larger: the path changed its direction more.",
        each(paths.mean_curvature),
    ),
    Measure(
        "parting",
        "Parting step",
        "",
        " steps",
        "parted from the other images",
        "later",
        "earlier",
        "The step from which on the model's estimate of the clean latents stays apart from that of another image of "
        f"the prompt, by more than {paths.PARTED:.0%} of the mean of their norms; the mean over the other images. By "
        "the states themselves two seeds are apart from the noise on.",
        "Larger: the image became one of its own later.",
        lambda prompt: paths.parting_steps(prompt.images),
    ),
    Measure(
        "overlap",
        "Overlap of attention",
        "",
        "",
        "had an overlap of attention",
        "larger",
        "smaller",
        "How much the words of two objects look at the same places, of the two that do most: one minus the "
        "Jensen-Shannon divergence of their maps in units of ln 2. A map is the mean over the tokens of the object's "
        "noun and colour, the layers and the steps.",
        "Larger: the words of two objects looked at the same places.",
        each(_overlap),
    ),
    Measure(
        "second_share",
        "Attention to the second object",
        "%",
        " percentage points",
        "had a share of attention to the second object",
        "larger",
        "smaller",
        "The share that the object which the prompt names second has of the attention to all its objects, each the "
        "mean over its tokens.",
        "Larger: the second object was looked at more.",
        each(_second_share),
    ),
    Measure(
        "basin",
        "Passing images in its group",
        "%",
        " percentage points",
        "had a share of passing images in their group",
        "larger",
        "smaller",
        "The share of the prompt's other passing images that lie in the same group (basin) as the image.",
        "Larger: the image is like those that passed.",
        _in_group,
    ),
)
