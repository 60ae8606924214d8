"""``diffatlas backends``: where models can run, which of them has a key, and whether its provider takes it."""

from __future__ import annotations

from typing import Annotated

import typer

from diffatlas.cli import request as ask
from diffatlas.cli.output import print_table
from diffatlas.errors import InvalidParams

commands = typer.Typer(add_completion=False, help="List where models can run: here, and at which providers.")


@commands.callback(invoke_without_command=True)
def backends(context: typer.Context) -> None:
    """List where models can run: here, and at which providers."""
    if context.invoked_subcommand is not None:
        return
    from diffatlas.backends.hosted import provider_of
    from diffatlas.backends.hosted.keys import variable_of
    from diffatlas.backends.hosted.money import made_today
    from diffatlas.registry import HOSTED, list_models

    rows = [("local", "This machine", "needs none", str(len(list_models())), "")]
    for name in HOSTED:
        provider = provider_of(name)
        variable = variable_of(provider)
        key = f"from {variable}" if variable else f"none: set {provider.variables[0]}"
        rows.append((name, provider.label, key, str(len(list_models(name))), made_today(name).words()))
    print_table(("Backend", "Name", "Key", "Models", "Made today"), rows)


@commands.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A provider of `diffatlas backends`.")],
) -> None:
    """Ask a provider whether it takes the key of the environment. It costs nothing."""
    from diffatlas.backends.hosted.backend import open_hosted

    ask.check_backend(name)
    if name == "local":
        raise InvalidParams("The models of this machine need no key.", field="backend")
    backend = open_hosted(name)
    backend.check_key()
    print(f"{backend.provider.label} takes the key.")
