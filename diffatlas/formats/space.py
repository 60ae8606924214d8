"""Diffusion Atlas as a Hugging Face Space: the files that make one, put there with the user's own token."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from diffatlas.errors import InvalidParams
from diffatlas.formats.dataset.hub import PUBLIC, HubError, call_hub, hub_api, hub_id, own_token
from diffatlas.registry import shipped_folder

#: At the top of a Space, beside the package and its models.
TOP = ("app.py", "README.md", "requirements.txt", "LICENSE")
PACKAGE = "diffatlas"
#: By which a Space is known to be one of ours.
_OURS = f"{PACKAGE}/__init__.py"
#: Of the package, what a Space has elsewhere or does without.
_LEFT_OUT = ("__pycache__", "_space", "_models", "*.pyc", "*.pyi")


def space_id(name: str) -> str:
    """Return the "owner/name" that a text names, also by its address. Raises `InvalidParams`."""
    found = hub_id(name.strip().removeprefix(f"{PUBLIC}/spaces/"))
    if found is None:
        raise InvalidParams(f"{name[:200]!r} is no place on the Hub: write it as owner/name.", field="name")
    return found


def write_space(folder: Path) -> None:
    """Write all files of a Space into a new folder, from a checkout or from an installed package.

    Raises `InvalidParams` where this installation lacks some.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "_space", package.parent)
    top = next((place for place in places if all((place / name).is_file() for name in TOP)), None)
    if top is None:
        raise InvalidParams(
            f"This installation lacks {', '.join(TOP)}, which a Space needs: install diffatlas again, or run this in "
            "a checkout."
        )
    shutil.copytree(package, folder / PACKAGE, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    shutil.copytree(shipped_folder(), folder / "models", ignore=shutil.ignore_patterns("__pycache__"))
    for name in TOP:
        shutil.copyfile(top / name, folder / name)


def create(
    name: str,
    *,
    private: bool = True,
    hardware: str | None = None,
    say: Callable[[str], None] = lambda message: None,
    endpoint: str | None = None,
) -> str:
    """Make a Space of Diffusion Atlas and return its address.

    name: "owner/name". hardware: as the Hub calls it ("cpu-basic", "zero-a10g", "t4-small"); None for its own choice.
    say: told what is being done. The token is that of the environment or of the Hub's login.

    Raises `InvalidParams` (no such name, no token) and `HubError`, also where it is there already.
    """
    repo, token = space_id(name), _token()

    def make() -> str:
        api = hub_api(endpoint, token)
        if api.repo_exists(repo, repo_type="space"):
            raise HubError(
                f"{repo} is there already: use `diffatlas space update`, or choose another name.",
                field="name",
            )
        say("Making the Space")
        address = str(
            api.create_repo(
                repo, repo_type="space", space_sdk="gradio", space_hardware=hardware, private=private
            )
        )
        _send(api, repo, say)
        return address

    return call_hub(make, token, repo)


def update(
    name: str,
    *,
    hardware: str | None = None,
    say: Callable[[str], None] = lambda message: None,
    endpoint: str | None = None,
) -> str:
    """Bring a Space of Diffusion Atlas up to date, which starts it anew, and return its address.

    Arguments and errors as `create`; a Space that is none of ours is left alone (`HubError`). hardware: None leaves it.
    """
    repo, token = space_id(name), _token()

    def renew() -> str:
        api = hub_api(endpoint, token)
        there = set(api.list_repo_files(repo, repo_type="space"))
        if _OURS not in there and not there <= {".gitattributes", "README.md"}:
            raise HubError(
                f"{repo} is no Space of Diffusion Atlas: choose another name, or make one with `diffatlas space "
                "create`.",
                field="name",
            )
        _send(api, repo, say)
        if hardware is not None:
            say(f"Asking for {hardware}")
            api.request_space_hardware(repo, hardware)
        return f"{api.endpoint}/spaces/{repo}"

    return call_hub(renew, token, repo)


def _send(api, repo: str, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="diffatlas-space-") as room:
        write_space(Path(room))
        say("Sending the files")
        api.upload_folder(
            repo_id=repo,
            repo_type="space",
            folder_path=room,
            commit_message="Bring Diffusion Atlas up to date",
            # Files of an earlier version are imported otherwise.
            delete_patterns=[f"{PACKAGE}/**", "models/**"],
        )


def _token() -> str:
    token = own_token()
    if not token:
        raise InvalidParams(
            "There is no token for the Hub: make one that may write at huggingface.co/settings/tokens, then log in "
            "with `hf auth login` or set HF_TOKEN.",
            field="token",
        )
    return token
