"""A run as the pages show it, live or stored: see `diffatlas.ui.components.run_view`."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field

from diffatlas.ui.wire.kinds import Also, Answer, Floats, Known, Measured, Picture, Problem, Query


class LayerInfo(Answer):
    """A visitor's layer, and what is told of its run."""

    id: str
    name: str
    #: The name that tells it apart from the others.
    label: str
    locked: bool
    visible: bool
    colour: str | None
    status: str
    steps: int
    total_steps: int
    latent_shape: list[int]
    seed: int | None
    prompt: str


class Params(Answer):
    """What was asked: `diffatlas.params.GenerationParams.to_dict`."""

    model: str
    prompt: str
    negative_prompt: str
    seed: int | None
    num_inference_steps: int
    guidance_scale: float
    width: int | None
    height: int | None
    scheduler: str | None
    num_images_per_prompt: int
    variant: NotRequired[str]
    revision: NotRequired[str]
    subfolder: NotRequired[str]
    loras: NotRequired[list[dict[str, Any]]]
    guidance_method: NotRequired[str]
    guidance_options: NotRequired[dict[str, float]]
    noise: NotRequired[dict[str, Any]]
    extra: NotRequired[dict[str, Any]]
    inputs: NotRequired[list[dict[str, Any]]]


class HostedTold(Answer):
    """What a hosted run shows in place of its latents: `diffatlas.formats.hosted.HostedRun`."""

    provider: str
    why: str
    sent: Also
    ignored: list[str]
    told: Also


class RunTold(Params):
    """What was asked and what it runs on."""

    query: Query
    also: Also
    #: What it was made with that no form can ask, in words.
    beyond: list[str]
    python: str
    known: Known
    id: str
    model_name: str
    device: str
    initial_sigma: Measured
    total_steps: int
    latent_shape: list[int]
    #: The norm of x_T; None where there are no latents.
    scale: Measured
    hosted: HostedTold | None


class StepTold(Answer):
    """One step: the noise levels before and after it, what is measured in the order of ``metrics``, its preview."""

    index: int
    timestep: Measured
    sigma_before: Measured
    sigma: Measured
    metrics: list[Measured]
    preview: str | None
    histogram: str | None


class Metric(Answer):
    """What is measured at every step."""

    name: str
    unit: str
    #: Why a run may not have it.
    absent: str
    label: str
    about: str


class Final(Answer):
    """What only the end can tell of each step."""

    cosine_to_end: list[Measured]
    distance_to_end: list[Measured]


class Totals(Answer):
    """What the end tells of the whole path."""

    path_length: Measured
    chord: Measured
    straightness: Measured
    mean_curvature: Measured
    dimensions_95: int | None
    seconds: Measured


class Batch(Answer):
    """Which of several runs in sequence it is, from 1."""

    number: int
    count: int


class StoredRun(Answer):
    """A stored run as the live view would show it at its end; the path is projected elsewhere."""

    request: str
    status: str
    prompt: str
    metrics: list[Metric]
    run: RunTold
    steps: list[StepTold]
    points: Floats
    axes: list[Measured] | None
    final: Final | None
    totals: Totals | None
    notes: list[str]
    inputs: NotRequired[list[Picture]]
    image: str | None
    error: Problem | None


class RunChanges(Answer, total=False):
    """Those fields of a run in progress that have changed."""

    request: str
    status: str
    message: str
    #: Seconds until a hosted run goes on by itself.
    until: Measured
    #: How many runs come first, and how long that should take, in words.
    ahead: int
    wait: str
    prompt: str
    #: Whether it is a stored run that was asked for again.
    cached: bool
    batch: Batch | None
    metrics: list[Metric]
    run: RunTold | None
    points: Floats
    axes: list[Measured] | None
    final: Final | None
    totals: Totals | None
    notes: list[str]
    inputs: list[Picture]
    image: str | None
    layers: list[LayerInfo] | None
    error: Problem | None


class News(Answer):
    """What is new of a run in progress: `diffatlas.ui.components.run_view.RunView.news`."""

    changes: int
    fields: RunChanges
    #: After how many steps ``steps`` come.
    from_: Annotated[int, Field(alias="from")]
    steps: list[StepTold]
    #: How many points of the path are known.
    placed: int | None
