"""A study local beside replicate, over real HTTP on loopback: the embedded model, and a provider's images."""

import pytest

from diffatlas import figures
from diffatlas.backends import open_backend
from diffatlas.backends.hosted.http import Patience
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.study_kinds import STUDY_KINDS
from diffatlas.formats.tables import study as tables
from diffatlas.library import Library
from diffatlas.operations.replay import replay
from diffatlas.params import GenerationParams
from diffatlas.studies.measure_cells import load_cells
from diffatlas.studies.measure_neighbourhood import measure_neighbourhood
from diffatlas.studies.measure_sweep import measure_sweep
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import CellWaits, run_study
from diffatlas.studies.words_sweep import lane_sentences
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.studies.playing import of, statuses

BASE = GenerationParams(prompt="a red circle", seed=3, num_inference_steps=3, guidance_scale=3.0)
QUICK = Patience(answer=5.0, image=20.0, first=0.02, most=0.05, asked=0.5, look=0.02, look_most=0.05)
DEV = {"backend": "replicate", "model": "black-forest-labs/flux-dev"}
SAYS = "Replicate shows no latents"


class Guided(FakeReplicate):
    """Makes another picture of another guidance."""

    def picture_reply(self, seen, seed):
        asked = self.predictions[seen.path.split("/")[-1].partition(".")[0]]["input"]
        return super().picture_reply(seen, 100 * seed + int(asked.get("guidance", 0)))


@pytest.fixture(scope="module")
def replicate():
    with Guided() as fake:
        yield fake


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return Library(tmp_path_factory.mktemp("beside") / "library")


@pytest.fixture(scope="module")
def played(replicate, library, shapes_backend):
    def play(study):
        hosted = open_backend("replicate", key=replicate.key, url=replicate.url, patience=QUICK)
        opened = {"local": shapes_backend, "replicate": hosted}
        events = [*run_study(study, opened.__getitem__, library)]
        return events, events[-1].study

    return play


@pytest.fixture(scope="module")
def swept(played):
    return played(plan_sweep(BASE, "guidance_scale", [1, 2, 3, 6, 12], lanes=[DEV, {"backend": "replicate"}]))


@pytest.fixture(scope="module")
def around(played):
    return played(plan_neighbourhood(BASE, "offset", k=3, lanes=[DEV]))[1]


def test_each_lane_has_what_its_model_can_do(swept, replicate):
    events, study = swept
    assert [lane.name for lane in study.lanes] == [
        "Shapes (embedded), local",
        "FLUX.1 dev, replicate",
        "FLUX.1 schnell, replicate",
    ]
    assert statuses(study, "a") == ["complete"] * 5
    assert statuses(study, "b") == ["complete"] * 4 + ["failed"]
    assert study.cell("b-0-4").error["message"] == "FLUX.1 dev takes a guidance scale from 0 to 10, not 12."
    assert {cell.error["code"] for cell in study.in_lane("c")} == {"capability"}
    assert "takes no guidance scale" in study.cell("c-0-0").error["message"]
    assert len(replicate.predictions) >= 4
    assert {e.key[0] for e in of(events, CellWaits)} == {"b"}


def test_images_are_compared_and_latents_are_a_finding(swept, library):
    study = swept[1]
    measures = measure_sweep(study, library)
    (pair,) = (one for one in measures.agreement if (one.a, one.b) == ("a", "b"))
    assert (pair.by["image"]["n"], pair.by["latent"]["rho"]) == (3, None)
    assert pair.by["image"]["rho"] is not None
    assert "cannot be compared by latents" in pair.sentence
    assert measures.lanes["a"].finding is None
    assert measures.lanes["b"].finding.startswith(SAYS)
    assert measures.cells["b-0-0"].parting_note.startswith(SAYS)
    assert measures.cells["b-0-0"].drift["image"] > 0
    assert any(SAYS in words for words in lane_sentences(study, measures.to_dict(), "b"))


def test_a_neighbourhood_of_seeds_is_held_against_the_local_one(around, library):
    assert statuses(around, "b") == ["complete"] * 4
    measures = measure_neighbourhood(around, library)
    found = measures.lanes["b"]
    assert set(found.matrices) == {"image", "hash"}
    assert (found.growth, found.growth_latent) == (None, None)
    assert found.finding.startswith(SAYS)
    (pair,) = measures.agreement
    assert (pair.n, pair.rank is None) == (4, False)
    assert "cannot be compared by latents" in pair.sentence
    for figure in (figures.growth, figures.map, figures.distances):
        assert SAYS in figure(around, measures.to_dict(), "b").layout.meta["says"]


def test_every_file_of_such_a_study_is_made(swept, around, library):
    for study in (swept[1], around):
        measure = measure_sweep if study.operation == "sweep" else measure_neighbourhood
        measures = measure(study, library).to_dict()
        images = {cell.key: cell.pixels for cell in load_cells(study, library)}
        assert all(kind.make(study, images, measures) for kind in STUDY_KINDS.values())
        lines = tables.csv(study, images, measures).decode().splitlines()
        assert "finding" in lines[0].split(",")
        assert [SAYS in line for line in lines[1:]] == [cell.lane == "b" for cell in study.cells]


def test_a_hosted_run_cannot_be_replayed(around, library, shapes_backend):
    with pytest.raises(CapabilityError, match="Replicate made this run"):
        next(replay(library, around.cell("b-0-0").run_id, shapes_backend))


# What a hosted lane has of its own


def test_a_hosted_lane_has_its_own_models_values_and_says_so():
    base = BASE.replace(num_inference_steps=30, guidance_scale=7.5, width=96, height=64, scheduler="euler")
    study = plan_sweep(
        base,
        "seed",
        [1, 2],
        lanes=[{"backend": "replicate"}, {"backend": "replicate", "model": "stability-ai/sdxl"}],
    )
    local, schnell, sdxl = study.lanes
    assert local.changes == {}
    assert (schnell.changes["num_inference_steps"], schnell.changes["guidance_scale"]) == (4, 0.0)
    assert schnell.changes["scheduler"] is None
    assert "4 steps, g 0" in schnell.name
    assert study.in_lane("b")[0].caption.endswith(
        "In this lane: 4 steps in place of 30, guidance 0 in place of 7.5, its model's own scheduler in place of euler."
    )
    # Its sides are 128 or more.
    assert {"width": None, "height": None}.items() <= sdxl.changes.items()
    assert "num_inference_steps" not in sdxl.changes
    assert "its model's own size in place of 96 x 64" in study.in_lane("c")[0].caption


def test_what_the_study_varies_is_the_same_in_every_lane():
    study = plan_sweep(BASE, "num_inference_steps", [3, 30], lanes=[{"backend": "replicate"}])
    assert [cell.params.num_inference_steps for cell in study.in_lane("b")] == [3, 30]


def test_a_lane_may_say_itself_what_it_has():
    asked = {"backend": "replicate", "num_inference_steps": 2, "guidance_scale": 1.0}
    _, lane = plan_sweep(BASE.replace(num_inference_steps=30), "seed", [1], lanes=[asked]).lanes
    assert (lane.changes["num_inference_steps"], lane.changes["guidance_scale"]) == (2, 1.0)
    with pytest.raises(InvalidParams) as caught:
        plan_sweep(BASE, "seed", [1], lanes=[{"backend": "replicate", "num_inference_steps": None}])
    assert caught.value.field == "lanes"
