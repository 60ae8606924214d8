"""What the pages begin with: the form asks what the recorded example shows, and the example can be kept."""

import json

import pytest

from diffatlas import Library
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import list_models
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.attention_form import build_attention_form
from diffatlas.ui.components.study_form import build_neighbourhood_form, build_sweep_form
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.services import Services
from diffatlas.ui.starts import start_of
from tests.spoken import Spoken

VISITOR = "a" * 32


@pytest.fixture(scope="module")
def models():
    return list_models("local")


@pytest.fixture
def info(models):
    return shared_local_backend().info(models[0].id)


def asked(form):
    import gradio as gr

    assert all(isinstance(field, gr.components.Component) for field in form.asked.values())
    return forms.to_params({name: field.value for name, field in form.asked.items()})


def build(kind, *args):
    import gradio as gr

    with gr.Blocks():
        return kind(*args)


@pytest.mark.parametrize("kind", [forms.build_form, build_attention_form])
def test_the_first_request_of_a_form_is_that_of_its_example(models, info, kind):
    page = "trajectory" if kind is forms.build_form else "attention"
    recorded = Library("nowhere").open(start_of(page)["id"]).params
    assert asked(build(kind, models, info)).replace(scheduler=None) == recorded.replace(scheduler=None)


@pytest.mark.parametrize(
    ("kind", "page"), [(build_sweep_form, "sweep"), (build_neighbourhood_form, "neighbourhood")]
)
def test_the_first_study_of_a_form_is_that_of_its_example(models, info, kind, page):
    form = build(kind, models, info)
    own = {name: field.value for name, field in form.own.items()}
    if page == "sweep":
        planned = plan_sweep(asked(form), own["field"], own["values"], seeds=own["seeds"])
    else:
        planned = plan_neighbourhood(
            asked(form), own["mode"], k=own["k"], radius=own["radius"], spread=own["spread"], step=own["step"]
        )
    recorded = Library("nowhere").studies.open(start_of(page)["id"])
    assert planned.title == recorded.title
    assert [cell.label for cell in planned.cells] == [cell.label for cell in recorded.cells]
    assert {**planned.spec, "base": None} == {
        name: None if name == "base" else recorded.spec[name] for name in planned.spec
    }


@pytest.fixture
def services(tmp_path):
    return Spoken(Services(Layers(Libraries(tmp_path)), shared_local_backend(), {}))


def test_an_example_can_be_looked_at_by_everybody_and_is_no_layer(services):
    run = start_of("trajectory")["id"]
    assert services.list_layers(VISITOR, {})["layers"] == []
    answer = services.run_data(VISITOR, {"id": run})
    assert json.loads(answer.body)["status"] == "complete"
    assert services.list_layers(VISITOR, {})["layers"] == []


def test_locking_an_example_keeps_it_as_a_layer_and_in_the_library(services):
    run = start_of("trajectory")["id"]
    [layer] = services.edit(VISITOR, {"action": "lock", "id": run})["layers"]
    assert (layer["id"], layer["locked"], layer["status"]) == (run, True, "complete")
    assert layer["colour"]
    assert [info.id for info in services.layers.library(VISITOR).list()] == [run]
    services.edit(VISITOR, {"action": "rename", "id": run, "name": "the first"})
    assert services.list_layers(VISITOR, {})["layers"][0]["name"] == "the first"


def test_locking_an_example_leaves_another_visitor_alone(tmp_path):
    services = Spoken(Services(Layers(Libraries(tmp_path, shared=True)), shared_local_backend(), {}))
    run = start_of("trajectory")["id"]
    services.edit(VISITOR, {"action": "lock", "id": run})
    other = "b" * 32
    assert services.list_layers(other, {})["layers"] == []
    assert json.loads(services.run_data(other, {"id": run}).body)["status"] == "complete"
    assert services.layers.library(other).list() == []


def test_an_example_that_somebody_keeps_is_still_there_for_the_others(services):
    run = start_of("trajectory")["id"]
    services.edit(VISITOR, {"action": "lock", "id": run})
    other = "b" * 32
    assert json.loads(services.run_data(other, {"id": run}).body)["status"] == "complete"
    services.edit(VISITOR, {"action": "delete", "id": run})
    assert json.loads(services.run_data(VISITOR, {"id": run}).body)["status"] == "complete"
