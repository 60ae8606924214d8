"""The Neighbourhood page: what lies around a point of latent space."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import gradio as gr

from diffatlas.library.study import Study
from diffatlas.registry import list_models
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.study_form import StudyForm, build_neighbourhood_form, to_lanes
from diffatlas.ui.components.viewer import StudyIsland
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import StudyServices
from diffatlas.ui.study_wiring import model_info, run_page, wire_study
from diffatlas.ui.wiring import wire_run


def neighbourhood_page(app: gr.Blocks, services: StudyServices, runner: StudyRunner) -> StudyForm:
    """Draw the page inside ``app``, and return its form."""
    models = list_models("local")
    with gr.Row(elem_classes=["da-page", "da-page-neighbourhood"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form = build_neighbourhood_form(models, model_info(models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            island = StudyIsland("neighbourhood", services.functions, elem_id="neighbourhood")

    def neighbourhood(asked: Mapping[str, Any], request: gr.Request) -> Generator[dict[str, Any], None, None]:
        """Run a prompt from noise around one seed's, and stream the cells.

        Args:
            seed: the anchor's seed, a whole number.
            previews: every, off, or the number of steps from one preview to the next.
            preview_decoder: linear or vae.
            again: whether to run even where the library has the same runs already.
            lanes: what further lanes differ in, such as scheduler=euler.
            exact: whether every cell runs alone, bit-equal to a single run.
            seed_mode: what becomes of the seed afterwards: keep, next or shuffle.
            mode: perturb, slerp (between two seeds) or offset (seeds near in number).
            k: how many neighbours, of perturb and offset.
            radius: of perturb, from 0 to 1.
            spread: even (out to the radius) or shell (all at the radius).
            step: of perturb, the step at whose state the noise is perturbed; 0 is the start.
            to_seed: of slerp, the seed at the other end.
            stops: of slerp, how many points on the way, both ends among them.
            offset: of offset, how far seeds may lie from the anchor's.
        """

        def plan() -> Study:
            return plan_neighbourhood(
                forms.to_params(asked),
                asked["mode"],
                **{name: forms.whole(asked[name]) for name in ("k", "step", "to_seed", "stops", "offset")},
                radius=asked["radius"],
                spread=asked["spread"],
                lanes=to_lanes(asked["lanes"]),
                exact=bool(asked["exact"]),
                backend=forms.to_backend(asked),
            )

        yield from run_page(runner, plan, asked, request)

    wire_run(form, neighbourhood, island, runner.sessions, "neighbourhood")
    wire_study(app, form, island, runner)
    return form
