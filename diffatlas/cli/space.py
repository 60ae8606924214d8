"""``diffatlas space``: put Diffusion Atlas on the Hugging Face Hub as a Space, and bring it up to date."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Put Diffusion Atlas on the Hub as a Space, with the token of HF_TOKEN or of `hf auth login`.",
)

Name = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="Your name or organisation, and the Space's.")
]
Hardware = Annotated[
    str | None,
    typer.Option(help="cpu-basic (free), zero-a10g (ZeroGPU), t4-small ... Default: as it is, or cpu-basic."),
]

_SECRETS = (
    "Keys of providers are secrets of the Space (its Settings, Variables and secrets), such as REPLICATE_API_TOKEN; "
    "visitors may use them only where DIFFATLAS_HOSTED_FOR_VISITORS is set."
)


@commands.command()
def create(
    name: Name,
    hardware: Hardware = None,
    private: Annotated[bool, typer.Option("--private/--public", help="Who sees it.")] = True,
) -> None:
    """Make a new Space of this version, and print its address."""
    from diffatlas.formats import space

    print(space.create(name, private=private, hardware=hardware, say=_say))
    _say(_SECRETS)


@commands.command()
def update(name: Name, hardware: Hardware = None) -> None:
    """Bring a Space of Diffusion Atlas to this version, and print its address."""
    from diffatlas.formats import space

    print(space.update(name, hardware=hardware, say=_say))


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
