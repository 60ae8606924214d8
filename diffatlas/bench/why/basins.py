"""Whether the images of a prompt fall into one group or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.bench.why.reading import Reading
from diffatlas.geometry import clusters, perceptual
from diffatlas.operations.features import Encoder
from diffatlas.studies.measure_cells import cosine_distance


@dataclass(frozen=True)
class Grouped:
    """The groups of the images of a prompt (`diffatlas.geometry.clusters.basins`).

    labels: that of each image, from 0; None of one without a picture. count: how many groups. by: the distance.
    """

    labels: tuple[int | None, ...]
    count: int
    by: str


def grouped(images: Sequence[Reading], encoder: Encoder | None = None) -> Grouped | str:
    """Return the groups of a prompt's images, or why they cannot be told.

    By the distance of an encoder's features where there is one, else by that of the pictures' colours, as in a
    neighbourhood.
    """
    at = [k for k, one in enumerate(images) if one.picture is not None]
    if len(at) < clusters.FEWEST:
        called = "image" if len(at) == 1 else "images"
        return f"Its prompt has {len(at)} {called}: groups are told of {clusters.FEWEST} or more."
    pictures = [images[k].picture for k in at]
    if encoder is not None:
        distances = perceptual.distances(encoder(pictures), cosine_distance)
        by = encoder.name
    elif len({picture.shape for picture in pictures}) > 1:
        return "The images of its prompt differ in size."
    else:
        distances, by = perceptual.image_distances(pictures), "colours"
    found = clusters.basins(distances)
    labels: list[int | None] = [None] * len(images)
    for k, label in zip(at, found.labels, strict=True):
        labels[k] = int(label)
    return Grouped(tuple(labels), found.count, by)


def together(groups: Grouped) -> np.ndarray:
    """Return of every two images whether they are in one group, (n, n): 1 or 0, NaN without a picture."""
    own = np.array([np.nan if label is None else label for label in groups.labels], dtype=np.float64)
    table = (own[:, None] == own[None]).astype(np.float64)
    table[np.isnan(own)] = np.nan
    table[:, np.isnan(own)] = np.nan
    return table
