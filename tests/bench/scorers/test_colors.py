"""The colours of objects, against CLIP written out in NumPy and crops cut pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from diffatlas.bench.scorers.clip_model import open_clip
from diffatlas.bench.scorers.colors import ColorJudge, crop
from diffatlas.bench.scorers.detectors.box import Box
from diffatlas.bench.tasks import COLORS
from tests.bench.clip_by_hand import ClipByHand

BOXES = (
    (3.5, 4.5, 20.5, 30.5),
    (2.4, 8.6, 31.0, 37.9),
    (0.0, 0.0, 50.0, 40.0),
    (10.2, 10.2, 10.3, 10.4),
    (49.7, 39.8, 50.0, 40.0),
)


def half_even(number):
    """Return a number rounded, halves to the even one."""
    low = int(np.floor(number))
    return low + (number - low > 0.5 or (number - low == 0.5 and low % 2 == 1))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("box", BOXES)
def test_a_crop_is_what_is_in_the_rounded_box_and_grey_outside_of_the_mask(photos, box, masked):
    image = photos[0]
    mask = np.random.default_rng(1).random(image.shape[:2]) < 0.5 if masked else None
    cut = np.asarray(crop(image, Box(box=box, mask=mask)))
    left, top, right, bottom = map(half_even, box)
    left, top = min(left, 49), min(top, 39)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    assert cut.shape == (bottom - top, right - left, 3)
    for y in range(top, bottom):
        for x in range(left, right):
            seen = image[y, x] if mask is None or mask[y, x] else (0x99, 0x99, 0x99)
            assert tuple(cut[y - top, x - left]) == tuple(seen)


def test_colours_are_those_of_clip_written_out(judge, photos):
    folder = judge("clip")
    clip, by_hand = ColorJudge(open_clip(str(folder))), ClipByHand(folder)
    rng = np.random.default_rng(2)
    told = set()
    for noun in ("baseball bat", "tv"):
        # The mean of three unit vectors, made one again.
        classifier = []
        for color in COLORS:
            texts = [
                f"a photo of a {color} {noun}",
                f"a photo of a {color}-colored {noun}",
                f"a photo of a {color} object",
            ]
            mean = np.mean([by_hand.text(text) for text in texts], 0)
            classifier.append(mean / np.linalg.norm(mean))
        for photo in photos:
            boxes = []
            for _ in range(8):
                left, top = rng.integers(0, 20, 2)
                box = (left, top, *(np.array([left, top]) + rng.integers(4, 20, 2)))
                boxes.append(Box(box=tuple(map(float, box)), mask=rng.random(photo.shape[:2]) < 0.7))
            found = clip.colors(photo, boxes, noun)
            for box, color in zip(boxes, found, strict=True):
                grey = np.where(box.mask[..., None], photo, 0x99).astype(np.uint8)
                likeness = np.array(classifier) @ by_hand.image(Image.fromarray(grey).crop(box.box))
                first, second = np.sort(likeness)[[-1, -2]]
                assert color == COLORS[likeness.argmax()] or first - second < 1e-5
            told |= set(found)
    assert len(told) > 2
