"""The layers of each visitor: what is kept, in which colour, and for whom."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.library import Library, shipped
from diffatlas.look import LAYERS
from diffatlas.params import GenerationParams
from diffatlas.run import Run, timestamp
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui.layers import MAX_NAME, Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.palette import next_colour

ME, YOU = "a" * 32, "b" * 32


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "runs")


@pytest.fixture
def layers(library):
    return Layers(Libraries(library.folder))


@pytest.fixture
def new_run(library):
    """A function that stores a run without steps, and returns its id."""
    count = 0

    def new_run() -> str:
        nonlocal count
        count += 1
        params = GenerationParams(prompt="a red circle", seed=count, width=64, height=64)
        start = np.zeros((1, 4, 2, 2), np.float32)
        run = Run(f"run-{count}", params, "complete", timestamp(), start, 1.0, 0)
        return library.save(run)

    return new_run


def test_the_next_run_replaces_the_temporary_layer_and_no_locked_one(layers, new_run):
    first, second, third = new_run(), new_run(), new_run()
    layers.begin(ME, first, "one")
    layers.lock(ME, first)
    layers.begin(ME, second, "two")
    layers.begin(ME, third, "three")
    assert [(layer.id, layer.locked) for layer in layers.of(ME)] == [(first, True), (third, False)]
    assert layers.of(ME)[0].colour == LAYERS[0]
    assert layers.of(ME)[1].colour is None


def test_layers_survive_a_restart(layers, library, new_run):
    run = new_run()
    layers.begin(ME, run, "one")
    layers.lock(ME, run)
    layers.rename(ME, run, "  the   first \n one ")
    layers.show(ME, run, False)
    (found,) = Layers(Libraries(library.folder)).of(ME)
    assert (found.id, found.name, found.locked, found.visible, found.colour) == (
        run, "the first one", True, False, LAYERS[0],
    )  # fmt: skip


def test_no_visitor_reaches_the_layers_of_another(layers, new_run):
    run = new_run()
    layers.begin(ME, run, "mine")
    assert layers.of(YOU) == []
    for action in (layers.lock, layers.delete, layers.find):
        with pytest.raises(RunNotFound):
            action(YOU, run)
    layers.reset(YOU)
    assert len(layers.of(ME)) == 1


@pytest.mark.parametrize("run_id", ["../../etc", None, 7, "nothing", ["run-1"]])
def test_what_is_no_layer_is_not_found(layers, run_id):
    with pytest.raises(RunNotFound):
        layers.find(ME, run_id)


@pytest.mark.parametrize("name", ["", "  \n", None, 7])
def test_an_empty_name_is_refused_and_a_long_one_cut(layers, new_run, name):
    run = new_run()
    layers.begin(ME, run, "x" * 500)
    assert len(layers.of(ME)[0].name) == MAX_NAME
    with pytest.raises(InvalidParams):
        layers.rename(ME, run, name)
    assert len(layers.of(ME)[0].name) == MAX_NAME


def test_a_run_deleted_elsewhere_is_no_layer(layers, library, new_run):
    run = new_run()
    layers.begin(ME, run, "one")
    library.delete(run)
    assert layers.of(ME) == []


def test_a_damaged_list_is_set_aside_and_not_written_over(layers, library, new_run):
    run = new_run()
    layers.begin(ME, run, "one")
    file = library.folder / ".layers" / f"{ME}.json"
    file.write_text(file.read_text()[:20])
    assert layers.of(ME) == []
    layers.begin(ME, run, "again")
    assert file.with_suffix(".damaged").exists()
    assert len(json.loads(file.read_text())["layers"]) == 1


def test_colours_are_those_least_used():
    used = []
    for _ in range(2 * len(LAYERS)):
        used.append(next_colour(used))
    assert used == [*LAYERS, *LAYERS]
    assert next_colour(LAYERS[1:]) == LAYERS[0]


def test_runs_stay_when_their_layers_go_and_are_spared_while_locked(layers, library, new_run):
    first, second = new_run(), new_run()
    layers.begin(ME, first, "one")
    layers.lock(ME, first)
    layers.begin(ME, second, "two")
    assert {info.id: info.locked for info in library.list()} == {first: True, second: False}
    layers.delete(ME, first)
    layers.reset(ME)
    assert {info.id: info.locked for info in library.list()} == {first: False, second: False}


def test_a_run_out_of_the_library_becomes_a_locked_layer_once(layers, new_run):
    run, other = new_run(), new_run()
    layers.begin(ME, other, "temporary")
    for _ in range(2):
        layers.open(ME, run, "opened")
    assert [(layer.id, layer.locked) for layer in layers.of(ME)] == [(run, True), (other, False)]
    with pytest.raises(RunNotFound):
        layers.open(ME, "nothing", "opened")


def test_a_run_served_from_the_library_that_is_a_layer_already_stays_that(layers, new_run):
    run = new_run()
    layers.begin(ME, run, "one")
    layers.lock(ME, run)
    layers.show(ME, run, False)
    layers.begin(ME, run, "again")
    (layer,) = layers.of(ME)
    assert (layer.name, layer.locked, layer.visible) == ("one", True, True)


def test_the_list_of_runs_is_not_disturbed(layers, library, new_run):
    run = new_run()
    layers.begin(ME, run, "one")
    assert [info.id for info in library.list()] == [run]


def test_a_visitor_who_will_not_come_back_leaves_nothing(layers, library, new_run):
    run = new_run()
    layers.begin(ME, run, "one")
    layers.forget(ME)
    assert list((library.folder / ".layers").iterdir()) == []
    layers.forget(YOU)
    assert [info.id for info in library.list()] == [run], "the run itself stays on a personal machine"


@pytest.fixture
def new_study(library):
    """A function that stores a sweep that has not run, and returns its id."""

    def new_study(operation: str = "sweep") -> str:
        base = GenerationParams(prompt="a red circle", seed=1)
        plan = (
            plan_sweep(base, "guidance_scale", "1, 3") if operation == "sweep" else plan_neighbourhood(base)
        )
        library.studies.save(plan)
        return plan.id

    return new_study


def kept(layers, visitor=ME):
    return [(layer.id, layer.locked, layer.visible) for layer in layers.of(visitor)]


def test_the_study_in_view_is_replaced_by_the_next_and_a_locked_one_stays(layers, new_study):
    sweeps = layers.of_studies("sweep")
    first, second, third = new_study(), new_study(), new_study()
    sweeps.look(ME, first, "one")
    sweeps.lock(ME, first)
    sweeps.look(ME, second, "two")
    assert kept(sweeps) == [(first, True, True), (second, False, True)]
    # Looking at what is a layer already takes no other away, and shows it.
    sweeps.show(ME, first, False)
    sweeps.look(ME, first, "one")
    assert kept(sweeps) == [(first, True, True), (second, False, True)]
    sweeps.look(ME, third, "three")
    assert kept(sweeps) == [(first, True, True), (third, False, True)]


def test_runs_and_the_studies_of_each_operation_are_lists_of_their_own(layers, library, new_run, new_study):
    run, sweep, around = new_run(), new_study(), new_study("neighbourhood")
    layers.begin(ME, run, "run")
    for operation, study in (("sweep", sweep), ("neighbourhood", around)):
        layers.of_studies(operation).look(ME, study, operation)
        layers.of_studies(operation).lock(ME, study)
    again = Layers(Libraries(library.folder))
    assert kept(again) == [(run, False, True)]
    assert kept(again.of_studies("sweep")) == [(sweep, True, True)]
    assert kept(again.of_studies("neighbourhood")) == [(around, True, True)]
    assert [each.of(ME)[0].colour for each in map(again.of_studies, ("sweep", "neighbourhood"))] == [
        LAYERS[0], LAYERS[0],
    ]  # fmt: skip
    again.reset(ME)
    again.of_studies("sweep").delete(ME, sweep)
    assert (kept(again), kept(again.of_studies("sweep"))) == ([], [])
    assert kept(again.of_studies("neighbourhood")) == [(around, True, True)]
    assert kept(again.of_studies("neighbourhood"), YOU) == []


def test_a_list_from_before_there_were_kinds_is_read_as_runs(layers, library, new_run, new_study):
    run, study = new_run(), new_study()
    file = library.folder / ".layers" / f"{ME}.json"
    file.parent.mkdir()
    old = {"id": run, "name": "old", "locked": True, "visible": False, "colour": LAYERS[2]}
    file.write_text(json.dumps({"layers": [old]}))
    layers.of_studies("sweep").look(ME, study, "new")
    (found,) = layers.of(ME)
    assert (found.id, found.name, found.locked, found.visible, found.colour, found.kind) == (
        run, "old", True, False, LAYERS[2], "run",
    )  # fmt: skip
    assert not file.with_suffix(".damaged").exists()


def test_a_layer_waits_for_its_study_in_the_trash_and_goes_with_it_for_good(layers, library, new_study):
    sweeps = layers.of_studies("sweep")
    first, second, third = new_study(), new_study(), new_study()
    for study in (first, second):
        sweeps.look(ME, study, f"of {study}")
        sweeps.lock(ME, study)
        library.studies.trash(study)
    assert kept(sweeps) == []
    assert {layer.id for layer in sweeps.left_out(ME)} == {first, second}
    sweeps.look(ME, third, "three")
    library.studies.restore(first)
    library.studies.deleted.delete(second)
    assert kept(sweeps) == [(first, True, True), (third, False, True)]
    assert [layer.id for layer in sweeps.left_out(ME)] == [second]
    assert not sweeps.is_in_trash(ME, second)
    sweeps.show(ME, first, False)
    assert sweeps.left_out(ME) == []


def test_a_study_that_comes_with_the_project_is_no_layer(layers):
    sweeps = layers.of_studies("sweep")
    example = next((shipped.EXAMPLES / ".studies").iterdir()).name
    sweeps.look(ME, example, "recorded")
    assert kept(sweeps) == []
    with pytest.raises(RunNotFound):
        sweeps.lock(ME, example)


def test_locking_a_study_keeps_its_runs_from_making_room(layers, library, new_run, new_study):
    sweeps, study = layers.of_studies("sweep"), new_study()
    runs = [new_run(), new_run()]
    plan = library.studies.open(study)
    library.studies.save(plan.with_cell("a-0-0", status="complete", run_id=runs[0]))
    sweeps.look(ME, study, "one")
    sweeps.lock(ME, study)
    assert library.evict(1) == [runs[1]]
    sweeps.delete(ME, study)
    assert library.evict(1) == [runs[0]]
