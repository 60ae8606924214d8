import logging
import traceback

import huggingface_hub
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.formats.dataset import shards as cutting
from diffatlas.formats.dataset.hub import HubError, hub_id, push
from diffatlas.formats.dataset.read import import_dataset
from diffatlas.formats.dataset.schema import RefusedDataset
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.formats.dataset.dataset_runs import PACKED, STOPPED, WHOLE, fill
from tests.formats.dataset.fake_hub import TOKEN, serve
from tests.formats.dataset.test_dataset_studies import sweep_in

NAME = "someone/circles"


@pytest.fixture(autouse=True)
def online(monkeypatch, tmp_path):
    """The Hub's client may call: it reaches nothing but the one in this process. It has no token of its own."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    # It waits longer and longer before it tries again.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub():
    with serve() as hub:
        yield hub


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def folder(library, tmp_path_factory):
    return export_dataset(library, tmp_path_factory.mktemp("out") / "d", [WHOLE, PACKED, STOPPED])


@pytest.fixture
def shards(library, tmp_path, monkeypatch):
    """A dataset of several files."""
    monkeypatch.setattr(cutting, "GROUP_BYTES", 1)
    monkeypatch.setattr(cutting, "FILE_BYTES", 1)
    return export_dataset(library, tmp_path / "shards", [WHOLE, PACKED, STOPPED])


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def on_hub(hub):
    return {name: data for name, data in hub.repos[NAME].items() if name != ".gitattributes"}


def test_a_dataset_goes_up_as_it_is(hub, folder):
    address = push(folder, NAME, token=TOKEN, endpoint=hub.address)
    assert address == f"{hub.address}/datasets/{NAME}"
    assert on_hub(hub) == content(folder)
    assert hub.tokens <= {TOKEN, ""}
    assert TOKEN in hub.tokens


@pytest.mark.parametrize(("options", "private"), [({}, True), ({"private": False}, False)])
def test_it_is_private_unless_told(hub, folder, options, private):
    push(folder, NAME, token=TOKEN, endpoint=hub.address, **options)
    assert hub.private[NAME] is private


def test_what_is_up_comes_down_to_the_byte(hub, folder, library, tmp_path):
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    back = Library(tmp_path / "runs")
    said = []
    options = {
        "token": TOKEN,
        "endpoint": hub.address,
        "progress": lambda share, message: said.append(message),
    }
    assert import_dataset(back, NAME, **options) == [WHOLE, PACKED, STOPPED]
    for run_id in (WHOLE, PACKED, STOPPED):
        ours, theirs = content(library.folder / run_id), content(back.folder / run_id)
        del ours["manifest.json"], theirs["manifest.json"]
        assert ours == theirs
    assert any("Fetching" in message for message in said)
    assert sorted(p.name for p in back.folder.iterdir() if p.is_dir()) == [WHOLE, PACKED, STOPPED]


def test_a_second_push_sends_nothing(hub, folder):
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    commits = len(hub.commits)
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    assert len(hub.commits) == commits


def test_a_push_that_was_interrupted_goes_on(hub, shards):
    said = []
    files = content(shards)

    def progress(share, message):
        said.append(share)
        if len(said) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(shards, NAME, token=TOKEN, endpoint=hub.address, progress=progress)
    first = on_hub(hub)
    assert 0 < len(first) < len(files)
    sent = {name for commit in hub.commits for name in commit["add"]}
    before = len(hub.commits)
    push(shards, NAME, token=TOKEN, endpoint=hub.address)
    assert on_hub(hub) == files
    again = {name for commit in hub.commits[before:] for name in commit["add"]}
    assert again == set(files) - sent


def test_progress_goes_to_one(hub, shards):
    said = []
    push(
        shards,
        NAME,
        token=TOKEN,
        endpoint=hub.address,
        progress=lambda share, message: said.append((share, message)),
    )
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(set(shares)) >= 4
    assert any("MB" in message for _, message in said)


def test_a_shorter_export_replaces_a_longer_one(hub, shards, folder):
    push(shards, NAME, token=TOKEN, endpoint=hub.address)
    assert len(on_hub(hub)) == 5
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    assert on_hub(hub) == content(folder)


def test_attention_and_studies_go_up_come_back_and_go_when_left_out(hub, tmp_path):
    from diffatlas.formats.dataset.read import import_all

    own = Library(tmp_path / "own")
    attended, sweep = own.save(run_of(300, steps=2)), sweep_in(own)
    whole = export_dataset(own, tmp_path / "whole", [attended], studies=[sweep.id])
    push(whole, NAME, token=TOKEN, endpoint=hub.address)
    assert on_hub(hub) == content(whole)
    assert {name.split("/")[0] for name in on_hub(hub)} >= {"data", "attention", "studies"}
    back = Library(tmp_path / "back")
    found = import_all(back, NAME, token=TOKEN, endpoint=hub.address)
    assert attended in found.runs
    assert found.studies == [sweep.id]
    for index in range(2):
        for key, maps in own.open(attended).attention(index).items():
            assert back.open(attended).attention(index)[key].tobytes() == maps.tobytes()
    bare = export_dataset(own, tmp_path / "bare", [attended], attention=False, studies=[])
    push(bare, NAME, token=TOKEN, endpoint=hub.address)
    assert on_hub(hub) == content(bare)


def test_a_dataset_of_somebody_elses_making_is_left_alone(hub, folder):
    theirs = {
        "README.md": b"---\nlicense: mit\n---\n- diffusion-atlas\n",
        "data/train-00000-of-00001.parquet": b"x",
    }
    hub.repos[NAME], hub.private[NAME] = dict(theirs), False
    with pytest.raises(HubError, match="no dataset of Diffusion Atlas"):
        push(folder, NAME, token=TOKEN, endpoint=hub.address)
    assert hub.repos[NAME] == theirs


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "does not know the token"), (403, "right to write"), (413, "too large"), (418, "error 418")],
)
@pytest.mark.parametrize("where", ["/api/repos/create", "/commit/"])
def test_errors_are_sentences_and_never_hold_the_token(
    hub, folder, where, status, says, caplog, capfd, tmp_path
):
    caplog.set_level(logging.DEBUG)
    hub.fail[where] = [status, 99]
    with pytest.raises(HubError, match=says) as caught:
        push(folder, NAME, token=TOKEN, endpoint=hub.address)
    error = caught.value
    assert "\n" not in str(error)
    # Nor what hangs on it, which a debugger or a log of locals would print.
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception(error)) + caplog.text + str(capfd.readouterr())
    assert TOKEN not in shown
    for root in (tmp_path, folder):
        assert not any(TOKEN.encode() in data for data in content(root).values())


def test_a_server_that_fails_is_worth_another_try(hub, shards):
    hub.fail["/commit/"] = [500, 99]
    with pytest.raises(HubError, match="try again"):
        push(shards, NAME, token=TOKEN, endpoint=hub.address)
    hub.fail.clear()
    push(shards, NAME, token=TOKEN, endpoint=hub.address)
    assert on_hub(hub) == content(shards)


def test_nobody_there(folder):
    with pytest.raises(HubError, match="could not be reached") as caught:
        push(folder, NAME, token=TOKEN, endpoint="http://127.0.0.1:9")
    assert TOKEN not in str(caught.value)


def test_a_machine_that_is_offline(hub, folder, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        push(folder, NAME, token=TOKEN, endpoint=hub.address)


def test_without_a_token(hub, folder):
    with pytest.raises(InvalidParams, match="no token"):
        push(folder, NAME, endpoint=hub.address)
    assert hub.calls == []


def test_an_empty_token_is_not_that_of_the_machine(hub, folder, monkeypatch):
    """A visitor who types none must not write as the owner."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(InvalidParams, match="no token"):
        push(folder, NAME, token=" ", endpoint=hub.address)
    assert hub.calls == []


def test_the_token_of_the_environment(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    push(folder, NAME, endpoint=hub.address)
    assert TOKEN in hub.tokens


@pytest.mark.parametrize("name", ["circles", "a/b/c", "../x/y", "a b/c", "", "-a/b", "a/b--c"])
def test_a_name_that_is_none(hub, folder, name):
    with pytest.raises(InvalidParams, match="user/name"):
        push(folder, name, token=TOKEN, endpoint=hub.address)
    assert hub.calls == []


def test_a_folder_that_is_no_dataset(hub, tmp_path):
    with pytest.raises(InvalidParams, match="not a dataset"):
        push(tmp_path, NAME, token=TOKEN, endpoint=hub.address)
    assert hub.calls == []


def test_only_the_dataset_goes_up(hub, folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / ".env").write_text("SECRET=1")
    (copy / "data" / "notes.txt").write_text("private")
    push(copy, NAME, token=TOKEN, endpoint=hub.address)
    assert on_hub(hub) == content(folder)


def test_addresses():
    for text in (
        NAME,
        f"datasets/{NAME}",
        f"hf://datasets/{NAME}",
        f" https://huggingface.co/datasets/{NAME}/ ",
    ):
        assert hub_id(text) == NAME
    for text in ("x", "https://evil.example/a/b", "a/..", "file:///etc/passwd", "a/b/c"):
        assert hub_id(text) is None


# -- what is fetched --


def test_a_pickle_on_the_hub_is_never_fetched(hub, folder, tmp_path):
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    hub.repos[NAME]["loader.py"] = b"import os"
    hub.calls.clear()
    with pytest.raises(RefusedDataset, match=r"loader\.py"):
        import_dataset(Library(tmp_path / "runs"), NAME, token=TOKEN, endpoint=hub.address)
    assert not any("resolve" in path for _, path in hub.calls)


def test_a_large_one_is_refused_by_what_it_says(hub, folder, tmp_path):
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    hub.calls.clear()
    with pytest.raises(RefusedDataset, match="holds more than"):
        import_dataset(Library(tmp_path / "runs"), NAME, token=TOKEN, endpoint=hub.address, limit_bytes=1000)
    assert not any("resolve" in path for _, path in hub.calls)


def test_one_that_says_it_is_small(hub, folder, tmp_path):
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    hub.claimed["data/train-00000-of-00001.parquet"] = 10
    with pytest.raises((RefusedDataset, HubError)):
        import_dataset(Library(tmp_path / "runs"), NAME, token=TOKEN, endpoint=hub.address, limit_bytes=1000)
    assert Library(tmp_path / "runs").list() == []


def test_one_that_is_not_there(hub, tmp_path):
    with pytest.raises(HubError, match="not on the Hub"):
        import_dataset(Library(tmp_path / "runs"), NAME, token=TOKEN, endpoint=hub.address)


def test_no_token_is_sent_where_none_is_wanted(hub, folder, tmp_path, monkeypatch):
    push(folder, NAME, token=TOKEN, endpoint=hub.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.tokens.clear()
    import_dataset(Library(tmp_path / "runs"), NAME, token=False, endpoint=hub.address)
    assert hub.tokens == {""}
