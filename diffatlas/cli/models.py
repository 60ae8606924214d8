"""``diffatlas models``: which models there are, what one is, and the user's own list of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffatlas.cli import request as ask
from diffatlas.cli.output import print_table, quieten, text

commands = typer.Typer(
    add_completion=False, help="List the models that run on this machine, the default first."
)

Config = Annotated[
    str | None,
    typer.Option(
        help="Of a .safetensors file with a whole pipeline: the folder or model that its configs are taken from."
    ),
]
Id = Annotated[
    str,
    typer.Argument(
        help="An id of the Hub (user/name) or of the list, a pipeline folder, or a .safetensors file."
    ),
]


@commands.callback(invoke_without_command=True)
def models(context: typer.Context, backend: ask.Backend = "local") -> None:
    """List the models that run on this machine, or on another backend with what each takes; the default first."""
    if context.invoked_subcommand is not None:
        return
    ask.check_backend(backend)
    from diffatlas.registry import HOSTED, USER

    if backend in HOSTED:
        _list_hosted(backend)
        return

    rows = [
        (
            entry.id,
            entry.name,
            text(entry.size),
            text(entry.steps),
            text(entry.guidance),
            text(entry.mem),
            " ".join(["Your own.", entry.notes]).strip() if entry.provider == USER else entry.notes,
        )
        for entry in ask.models_of(backend)
    ]
    print_table(("Model", "Name", "Size", "Steps", "Guidance", "GB", "Notes"), rows)


def _list_hosted(provider: str) -> None:
    """Print the registry of a provider. An input that a model takes shows its default and its range."""
    from diffatlas.registry import HostedModel, list_models

    rows = []
    for entry in list_models(provider):
        if not isinstance(entry, HostedModel):
            continue
        takes = "not known: all is sent" if entry.takes is None else ", ".join(entry.takes)
        dollars = entry.dollars()
        rows.append(
            (
                entry.id,
                entry.name,
                takes,
                _input(entry.has("steps"), entry.steps, entry.steps_range),
                _input(entry.has("guidance"), entry.guidance, entry.guidance_range),
                "" if dollars is None else f"{dollars:.4g}",
                entry.notes,
            )
        )
    print_table(("Model", "Name", "Takes", "Steps", "Guidance", "Dollars an image", "Notes"), rows)


def _input(taken: bool, first: float | None, span: tuple[float, float] | None) -> str:
    """Return the default and the range of an input in a few characters: "28 (1 to 50)"."""
    if not taken:
        return "none"
    return " ".join(filter(None, [text(first), f"({span[0]:g} to {span[1]:g})" if span else ""]))


@commands.command()
def show(
    model: Id,
    variant: ask.Variant = None,
    revision: ask.Revision = None,
    subfolder: ask.Subfolder = None,
    config: Config = None,
) -> None:
    """Say what a model is, without loading it: class, native size, memory, download, licence."""
    from diffatlas.backends.look_up import look_up

    _be_quiet()
    for sentence in look_up(model, revision, subfolder, variant, config=config).sentences():
        print(sentence)


@commands.command()
def add(
    model: Id,
    name: Annotated[
        str | None, typer.Option(help="What it is called. Default: the name of its files.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Native side in pixels. Default: the model's.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Good first steps. Default: the pipeline's.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Good first guidance scale. Default: the pipeline's.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="What it runs in on a GPU: fp32, fp16 or bf16. Default: its files'.")
    ] = None,
    offload: Annotated[
        str | None,
        typer.Option(
            help="What waits in main memory while it is not used: model (its parts) or group (its layers)."
        ),
    ] = None,
    vae: Annotated[
        str | None,
        typer.Option(help="How its VAE works, with commas between: tiling, slicing, fp32."),
    ] = None,
    compile: Annotated[
        str | None,
        typer.Option(
            help="Compile its denoiser: blocks, or a mode of torch.compile (default, reduce-overhead, max-autotune)."
        ),
    ] = None,
    variant: ask.Variant = None,
    revision: ask.Revision = None,
    subfolder: ask.Subfolder = None,
    config: Config = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Add a model of the Hub without asking the Hub about it.")
    ] = False,
) -> None:
    """Add a model to your own list, after saying what it is. Nothing is downloaded or loaded yet.

    A model that cannot be looked up, or cannot run, is not added.
    """
    from diffatlas.backends.look_up import look_up
    from diffatlas.backends.model_info import is_hub_id
    from diffatlas.errors import ModelLoadError
    from diffatlas.registry import ModelEntry, add_model, check_new

    check_new(model)
    own = {"name": name, "size": size, "steps": steps, "guidance": guidance, "dtype": dtype}
    own |= {"offload": offload, "vae": vae, "compile": compile}
    if offline and is_hub_id(model) and not Path(model).is_dir():
        said = {"name": model.rpartition("/")[2]} | {
            key: value for key, value in own.items() if value is not None
        }
        where = {"variant": variant, "revision": revision, "subfolder": subfolder}
        kept = add_model(ModelEntry(id=model, **said, **where))
        print(f"Added without asking the Hub whether there is such a model: {kept.id}")
        return
    _be_quiet()
    card = look_up(model, revision, subfolder, variant, config=config)
    if card.problem:
        raise ModelLoadError(card.problem, field="model")
    kept = add_model(card.entry(**own))
    # As it is told from now on: with what its line says of how it is put on the device.
    for sentence in look_up(kept.id).sentences() if card.on_disk else card.sentences():
        print(sentence)
    print(f"Added: {kept.id}")


@commands.command()
def remove(model: Annotated[str, typer.Argument(help="The id of a model that you added.")]) -> None:
    """Take a model out of your own list. Its files stay where they are."""
    from diffatlas.registry import remove_model

    print(f"Removed: {remove_model(model).id}")


def _be_quiet() -> None:
    """Silence the libraries: configs are fetched in an instant, and what is printed is what the model is."""
    from huggingface_hub.utils import disable_progress_bars

    quieten()
    disable_progress_bars()
