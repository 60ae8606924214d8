"""``diffatlas backends``: where models can run, what each lacks, and whether it answers and takes its key."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from diffatlas.cli import request as ask
from diffatlas.cli.output import print_table
from diffatlas.errors import InvalidParams

commands = typer.Typer(
    add_completion=False, help="List where models can run: here, elsewhere, and at which providers."
)


@commands.callback(invoke_without_command=True)
def backends(context: typer.Context) -> None:
    """List where models can run: here, elsewhere, and at which providers."""
    if context.invoked_subcommand is not None:
        return
    from diffatlas.backends.elsewhere import NAMES, TOKEN, host_of, lacking
    from diffatlas.backends.hosted import provider_of
    from diffatlas.backends.hosted.keys import variable_of
    from diffatlas.backends.hosted.money import made_today
    from diffatlas.registry import ELSEWHERE, HOSTED, list_models
    from diffatlas.settings import settings

    rows = [("local", "This machine", "needs none", str(len(list_models())), "", "yes")]
    for name in ELSEWHERE:
        missing = lacking(name)
        key = f"from {TOKEN}" if name == "remote" and os.environ.get(TOKEN) else ""
        label = (
            f"{NAMES[name]} ({host_of(url)})"
            if name == "remote" and (url := settings().remote_url)
            else NAMES[name]
        )
        rows.append((name, label, key, "", "", f"no: {missing}" if missing else "yes"))
    for name in HOSTED:
        provider = provider_of(name)
        variable = variable_of(provider)
        key = f"from {variable}" if variable else f"none: set {provider.variables[0]}"
        made, usable = made_today(name).words(), "yes" if variable else "no: it has no key."
        rows.append((name, provider.label, key, str(len(list_models(name))), made, usable))
    print_table(("Backend", "Name", "Key", "Models", "Made today", "Usable"), rows)


@commands.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `diffatlas backends`.")],
) -> None:
    """Ask a provider whether it takes the key of the environment, or a place elsewhere what it offers. It costs
    nothing."""
    from diffatlas.backends.hosted.backend import open_hosted
    from diffatlas.registry import ELSEWHERE

    ask.check_backend(name)
    if name == "local":
        raise InvalidParams("The models of this machine need no key.", field="backend")
    if name in ELSEWHERE:
        from diffatlas.backends.elsewhere import NAMES

        names = [entry.name for entry in ask.models_of(name)]
        print(f"{NAMES[name]} answers. It offers {', '.join(names) or 'no model by name'}.")
        return
    backend = open_hosted(name)
    backend.check_key()
    print(f"{backend.provider.label} takes the key.")
