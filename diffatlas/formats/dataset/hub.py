"""Datasets on the Hugging Face Hub: putting one there with the user's own token, and fetching one.

The token goes into the header of the requests and nowhere else: no file, no log, no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.formats.dataset.rows import checked_names
from diffatlas.formats.dataset.schema import CARD, CONFIGS, DATA, TAG, Progress, RefusedDataset
from diffatlas.settings import check_hub_token

PUBLIC = "https://huggingface.co"
#: Files go up in so many commits at most: one each is slow, and one for all shows no progress.
_COMMITS = 20
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REPO_ID = re.compile(rf"{_PART}/{_PART}")
_MAX_CARD = 1_000_000


class HubError(DiffAtlasError):
    """The Hub refused, or could not be reached."""

    code = "hub"


def hub_id(source: str) -> str | None:
    """Return the "user/name" that a text names, also by its address; None where it names none."""
    name = source.strip()
    for start in (f"{PUBLIC}/datasets/", "hf://datasets/", "datasets/"):
        name = name.removeprefix(start)
    name = name.rstrip("/")
    return name if _REPO_ID.fullmatch(name) and "--" not in name and ".." not in name else None


def push(
    folder: str | Path,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool = True,
    progress: Progress | None = None,
    endpoint: str | None = None,
) -> str:
    """Put the dataset in ``folder`` on the Hub as ``repo_id`` ("user/name"); return its address.

    A second call goes on where one was interrupted: files that are there already are not sent again. A dataset of
    ours that is there is replaced; any other is left alone. ``private`` counts for a new one only.

    Args:
        folder: what `export_dataset` wrote.
        repo_id: "user/name".
        token: with the right to write; None takes that of the environment (HF_TOKEN) or of the Hub's login.
        private: whether only the owner sees it.
        progress: called with the share done (0 to 1) and what is being done.
        endpoint: of the Hub, where it is not the public one.

    Raises `InvalidParams` (no such name, no token, no dataset) and `HubError`.
    """
    folder, say = Path(folder).expanduser(), progress or (lambda share, message: None)
    name = hub_id(repo_id)
    if name is None:
        raise InvalidParams(
            f"{repo_id[:200]!r} is no place on the Hub: write it as user/name.", field="repo_id"
        )
    token = own_token() if token is None else token.strip()
    if not token:
        raise InvalidParams(
            "There is no token for the Hub: make one that may write at huggingface.co/settings/tokens.",
            field="token",
        )
    files = _files(folder)
    return call_hub(lambda: _push(folder, files, name, token, private, say, endpoint), token, name)


def _push(
    folder: Path,
    files: dict[str, int],
    repo_id: str,
    token: str,
    private: bool,
    say: Progress,
    endpoint: str | None,
) -> str:
    from huggingface_hub import CommitOperationDelete

    api = hub_api(endpoint, token)
    say(0.0, "Making the place on the Hub")
    address = str(api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True))
    there = _check_ours(api, repo_id)
    total, done = sum(files.values()) or 1, 0
    for group in _groups(files):
        say(done / total, f"Sending {done / 1e6:,.1f} of {total / 1e6:,.1f} MB")
        api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=group,
            commit_message="Add runs of Diffusion Atlas",
        )
        done += sum(files[name] for name in group)
    ours = re.compile(rf"({'|'.join(CONFIGS)})/train-\d{{5}}-of-\d{{5}}\.parquet")
    stale = [name for name in there if name not in files and ours.fullmatch(name)]
    if stale:
        api.create_commit(
            repo_id,
            [CommitOperationDelete(path_in_repo=name) for name in stale],
            repo_type="dataset",
            commit_message="Remove the files of an earlier export",
        )
    say(1.0, "Done")
    return address


def download(
    repo_id: str,
    folder: Path,
    *,
    token: str | bool | None = None,
    limit_bytes: int,
    progress: Progress | None = None,
    endpoint: str | None = None,
) -> str:
    """Fetch the Parquet files of a dataset into ``folder``; return the commit they are of.

    Names and sizes are checked before anything is fetched. Raises `RefusedDataset` and `HubError`.
    """
    say = progress or (lambda share, message: None)
    if token is None:
        check_hub_token()
    return call_hub(lambda: _download(repo_id, folder, token, limit_bytes, say, endpoint), token, repo_id)


def _download(
    repo_id: str,
    folder: Path,
    token: str | bool | None,
    limit_bytes: int,
    say: Progress,
    endpoint: str | None,
) -> str:
    api = hub_api(endpoint, token)
    say(0.0, "Looking at the dataset")
    info = api.dataset_info(repo_id, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    names = [name for own in checked_names(sizes, limit_bytes).values() for name in own]
    for number, name in enumerate(names):
        say(number / len(names), f"Fetching file {number + 1} of {len(names)}")
        api.hf_hub_download(repo_id, name, repo_type="dataset", revision=info.sha, local_dir=folder)
        if sum(path.stat().st_size for path in folder.glob("*/*.parquet")) > limit_bytes:
            raise RefusedDataset("The dataset is not imported: it is larger than the Hub says.")
    return str(info.sha)


def hub_api(endpoint: str | None, token: str | bool | None) -> Any:
    """Return a client of the Hub that draws no bars. endpoint: None for the public one."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    return HfApi(endpoint=endpoint, token=token)


def own_token() -> str | None:
    """Return the token of the environment or of the Hub's login; None without. Raises `InvalidParams` for no token."""
    from huggingface_hub import get_token

    check_hub_token()

    return get_token()


def _files(folder: Path) -> dict[str, int]:
    """Return the files of a dataset and their bytes, the card first."""
    from diffatlas.formats.dataset.schema import SHEET

    shards = [
        path
        for table in CONFIGS
        for path in sorted((folder / table).glob("train-*.parquet"))
        if path.is_file()
    ]
    if not (folder / CARD).is_file() or not any(path.parent.name == DATA for path in shards):
        raise InvalidParams(f"{folder} is not a dataset: export one there first.", field="folder")
    paths = [folder / CARD, *([folder / SHEET] if (folder / SHEET).is_file() else []), *shards]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}


def _groups(files: dict[str, int]) -> Iterator[list[str]]:
    """Yield the names in `_COMMITS` groups of about as many bytes, the card with the first."""
    share, group, size = sum(files.values()) / _COMMITS, [], 0
    for name, number in files.items():
        group.append(name)
        size += number
        if size > share and name.endswith(".parquet"):
            yield group
            group, size = [], 0
    if group:
        yield group


def _check_ours(api: Any, repo_id: str) -> list[str]:
    """Return the files that are there. Raises `HubError` where they are not a dataset of ours."""
    import tempfile

    names = [sibling.rfilename for sibling in api.dataset_info(repo_id).siblings or ()]
    if set(names) <= {".gitattributes"}:
        return names
    ours = False
    if CARD in names:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(api.hf_hub_download(repo_id, CARD, repo_type="dataset", local_dir=folder))
            text = path.read_text(encoding="utf-8", errors="replace")[:_MAX_CARD]
        ours = re.search(rf"^- {TAG}$", text.split("\n---")[0], re.MULTILINE) is not None
    if not ours:
        raise HubError(
            f"{repo_id} is on the Hub already and is no dataset of Diffusion Atlas: choose another name.",
            field="repo_id",
        )
    return names


def call_hub(action: Callable[[], str], token: str | bool | None, repo_id: str) -> str:
    """Return what ``action`` does, its errors as `HubError` without anything of the request in them."""
    try:
        return action()
    except DiffAtlasError:
        raise
    except Exception as error:
        sentence = _sentence(error, repo_id)
    # Outside of the handler: the original error holds the request, and the request holds the token.
    if isinstance(token, str) and token:
        sentence = sentence.replace(token, "***")
    raise HubError(sentence)


def _sentence(error: BaseException, repo_id: str) -> str:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    for cause in _causes(error):
        if isinstance(cause, OfflineModeIsEnabled):
            return "The Hub is switched off on this machine: unset HF_HUB_OFFLINE."
        if isinstance(cause, HfHubHTTPError):
            code = cause.response.status_code
            said = {
                402: "The Hub wants to be paid for this: see huggingface.co/settings/billing.",
                401: f"The Hub does not know the token, or {repo_id} is not there for it: check both.",
                403: f"The token may not do this with {repo_id}: make one with the right to write to it.",
                404: f"{repo_id} is not on the Hub, or the token may not see it.",
                409: f"{repo_id} was changed on the Hub meanwhile: try again.",
                413: "The Hub says that this is too large.",
                429: "The Hub asks to slow down: wait some minutes, then try again; it goes on where it stopped.",
            }
            return said.get(code) or (
                f"The Hub answered with error {code}: try again; it goes on where it stopped."
                if code >= 500
                else f"The Hub refused with error {code}."
            )
        if isinstance(cause, OSError) and cause.errno is not None and cause.filename:
            return f"A file cannot be read or written ({cause.strerror})."
    kind = type(error).__name__
    return f"The Hub could not be reached or broke off ({kind}): try again; it goes on where it stopped."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 10:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1
