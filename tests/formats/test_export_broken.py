"""What is said of runs that broke: on the page as they go and from the library, in the shell, and in a report."""

from __future__ import annotations

import numpy as np
import pytest

from diffatlas.cli.output import follow
from diffatlas.errors import CapabilityError
from diffatlas.events import Finished, Image, Started, Step
from diffatlas.formats.broken import broken, broken_run, broken_stored
from diffatlas.geometry.broken import first_broken, one_colour
from diffatlas.library import Library
from diffatlas.operations.projections import Projections
from diffatlas.params import GenerationParams
from diffatlas.ui.components.run_data import stored_fields
from diffatlas.ui.components.run_view import RunView

RUN_ID = "20260101-000000-0000aaaa"
BLACK = np.zeros((8, 8, 3), np.uint8)


def events(poisoned=None, value=np.nan, dtype="fp32", image=BLACK):
    rng = np.random.default_rng(4)
    states = rng.normal(size=(5, 1, 4, 8, 8)).astype(np.float32)
    if poisoned is not None:
        states[poisoned:, 0, 1, 2, 3] = value
    params = GenerationParams(model="shapes", prompt="a ring", seed=7, width=8, height=8, scheduler="ddim")
    yield Started(RUN_ID, params, states[0], 14.6, 4, {"device": "cpu", "dtype": dtype})
    for index, latents in enumerate(states[1:]):
        yield Step(index, 900.0 - index, 1.0, latents, metrics={"norm": 1.0})
    yield Image(0, image)
    yield Finished("complete", 1.5)


def shown(told):
    view = RunView("a ring", "Shapes", "visitor")
    for event in told:
        view.add(event)
    return view.value()["notes"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_poisoned_latents_are_told_wherever_a_run_is_shown(tmp_path, capsys, value):
    said = shown(events(3, value, "fp16"))
    assert len(said) == 1
    assert said[0].startswith("From step 3 on the latents hold values that are no numbers")
    assert "fp16" in said[0]
    assert "fp32" in said[0]
    library = Library(tmp_path)
    assert follow(library.record(events(3, value, "fp16"))) == RUN_ID
    assert said[0] in " ".join(capsys.readouterr().err.split())
    stored = library.open(RUN_ID)
    assert said[0] in stored_fields(stored, "Shapes", "visitor")["notes"]
    assert broken_stored(stored, stored.images()) == said
    assert broken_run(library.load(RUN_ID)) == said


def test_a_run_without_numbers_is_not_projected(tmp_path):
    library = Library(tmp_path)
    list(library.record(events(2)))
    with pytest.raises(CapabilityError, match="from step 2 on"):
        Projections().pca(library, [RUN_ID])


def test_a_black_image_is_told_with_what_may_have_done_it():
    (said,) = shown(events(dtype="fp16"))
    assert said.startswith("The image is entirely black, though its latents are all numbers.")
    assert "decoder" in said
    assert "safety checker" in said
    (said,) = shown(events())
    assert said.startswith("The image is entirely black")
    assert "safety checker" in said


def test_a_whole_run_is_not_spoken_of():
    picture = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    assert shown(events(image=picture)) == []


def test_some_images_of_a_batch():
    picture = BLACK.copy()
    picture[0, 0, 0] = 1
    assert broken(None, [picture, BLACK], {})[0].startswith("Image 2 is entirely black")
    assert broken(None, [BLACK, picture, BLACK], {})[0].startswith("2 of 3 images are")
    assert "white all over" in broken(None, [np.full_like(BLACK, 255)], {})[0]


def test_places_and_colours():
    whole, hurt = np.zeros(3), np.array([0.0, np.inf])
    assert first_broken([whole, None, hurt, hurt]) == 2
    assert first_broken([None, whole]) is None
    assert one_colour(np.full((2, 3, 3), (9, 8, 7), np.uint8)) == (9, 8, 7)
    assert one_colour(np.eye(3, dtype=np.uint8)[..., None]) is None
