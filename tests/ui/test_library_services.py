"""What the Library page asks of the server, on runs of the embedded model."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.formats import bundle
from diffatlas.formats.named import Named
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.run import collect, new_run_id
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.library_services import LibraryServices
from diffatlas.ui.services import Services
from diffatlas.ui.starts import recorded_runs
from diffatlas.ui.trash_services import TrashServices
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import COOKIE, visitor_of
from tests.attended_runs import run_of
from tests.spoken import Spoken

SECRET, STRANGER = "1" * 32, "2" * 32
PROMPTS = ("a red circle", "a blue star", "a green square above a red ring")


def request_of(secret):
    return SimpleNamespace(cookies={COOKIE: secret} if secret else {})


def make(folder, shared):
    """A page's calls on a library of three runs of one visitor."""
    libraries = Libraries(folder, shared)
    library = libraries.of(visitor_of(request_of(SECRET)))
    layers = Layers(libraries)
    ids = []
    for seed, prompt in enumerate(PROMPTS):
        params = GenerationParams(prompt=prompt, seed=seed, num_inference_steps=3, guidance_scale=3)
        ids.append(collect(stream(params, Capture(previews="every"), library=library)).id)
    services = LibraryServices(libraries, layers, shared_local_backend(), {"shapes": "Shapes"}, Turns())
    calls = {call.__name__: call for call in services.functions}

    def ask(name, secret=SECRET, /, **asked):
        answer = calls[name](asked, request_of(secret))
        json.dumps(answer, allow_nan=False)  # what cannot be sent is found here
        return answer

    return SimpleNamespace(ask=ask, ids=ids, library=library, layers=layers)


def keep(room, **changes):
    """Put a run into the visitor's library as an import would, and return its id."""
    from tests.library.made_runs import made

    run = made(90, run_id=new_run_id(), **changes)
    room.library.save(run)
    return run.id


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs"), shared=False)


@pytest.fixture(scope="module")
def shared_room(tmp_path_factory):
    return make(tmp_path_factory.mktemp("shared"), shared=True)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


def wait(room, name, job, visitor=SECRET):
    for _ in range(1200):
        state = room.ask(name, visitor, job=job)
        if state.get("error") or state.get("done") or state.get("report"):
            return state
        time.sleep(0.05)
    raise AssertionError("the job did not end")


def test_runs_are_found_by_their_words_and_described(room):
    found = room.ask("find", text="")
    assert found["total"] == 3
    assert [run["prompt"] for run in found["runs"]] == list(reversed(PROMPTS))
    assert found["mode"] == "personal"
    assert found["usage"]["runs"] == 3
    assert found["usage"]["bytes"] > 10_000
    assert found["models"] == ["shapes"]
    row = room.ask("find", text="blue")["runs"]
    assert [run["id"] for run in row] == [room.ids[1]]
    if row[0]["unpictured"]:
        assert row[0]["thumb"] is None
    thumb = room.ask("thumbs", ids=[room.ids[1], "gone"])["thumbs"]
    assert list(thumb) == [room.ids[1]]
    assert thumb[room.ids[1]].startswith("data:image/webp;base64,")
    again = room.ask("find", text="blue")["runs"][0]
    assert (again["thumb"], again["unpictured"]) == (thumb[room.ids[1]], False)
    assert room.ask("find", limit=1, offset=1)["runs"][0]["id"] == room.ids[1]
    assert room.ask("find", sort="seed", descending=False)["runs"][0]["seed"] == 0


def test_runs_with_attention_say_so_and_are_found(room):
    params = GenerationParams(prompt="a cyan ring", seed=3, num_inference_steps=2, guidance_scale=3)
    run = collect(stream(params, Capture(attention="cross"), library=room.library)).id
    assert [(row["id"], row["attention"]) for row in room.ask("find", attention=True)["runs"]] == [
        (run, "cross")
    ]
    assert room.ask("find", attention="cross")["total"] == 1
    assert room.ask("find", attention="self")["total"] == 0
    assert {row["attention"] for row in room.ask("find", attention=False)["runs"]} == {""}
    room.library.delete(run)


def test_marks_are_kept_and_found(room):
    run = room.ids[0]
    told = room.ask(
        "mark", id=run, name="the first", tags=["good", "round"], note="see <b>this</b>", locked=True
    )
    assert told["run"]["name"] == "the first"
    assert room.ask("find", text="first")["total"] == 1
    assert room.ask("find", tag="round")["runs"][0]["id"] == run
    assert set(room.ask("find")["tags"]) == {"good", "round"}
    assert room.ask("find", locked=True)["total"] == 1
    assert "error" in room.ask("mark", id=run, name="x" * 500)
    room.ask("mark", id=run, locked=False)


def test_deleting_can_be_undone(room):
    run = room.ids[2]
    assert room.ask("trash", ids=[run]) == {"done": [run], "refused": []}
    assert room.ask("find")["total"] == 2
    assert "error" in room.ask("details", id=run)
    room.ask("restore", ids=[run])
    assert room.ask("find")["total"] == 3


def test_the_trash_shows_what_was_deleted_and_when_it_goes(tmp_path):
    room = make(tmp_path, shared=False)
    run, other, _ = room.ids
    room.library.mark(run, name="The first")
    empty = room.ask("trashed")
    assert (empty["items"], empty["total"], empty["bytes"], empty["keeps_days"]) == ([], 0, 0, 7)
    room.ask("trash", ids=[run, other])
    assert room.ask("find")["trashed"] == 2
    told = room.ask("trashed")
    by_id = {item["id"]: item for item in told["items"]}
    assert {item["name"] for item in told["items"]} == {"The first", PROMPTS[1]}
    assert by_id[run]["told"] == ["seed 0", "3 steps", "Shapes"]
    assert by_id[run]["thumb"].startswith("data:image/")
    moments = [datetime.fromisoformat(by_id[run][name]) for name in ("deleted", "goes")]
    assert moments[1] - moments[0] == timedelta(days=7)
    assert told["bytes"] == sum(item["bytes"] for item in told["items"]) > 1000
    # Its place is taken, and the other one comes all the same.
    room.library.save(replace(room.library.load(room.ids[2]), id=run, cached_from=None))
    answer = room.ask("restore", ids=[run, other])
    assert answer["done"] == [other]
    assert "again" in answer["refused"][0]
    assert "error" in room.ask("empty_trash", count=2)
    assert room.ask("trashed")["total"] == 1
    assert room.ask("empty_trash", count=1) == {"done": [run]}
    room.ask("trash", ids=[other])
    assert room.ask("forget", ids=[other])["done"] == [other]
    assert "error" in room.ask("restore", ids=[other])
    assert room.ask("trashed")["items"] == []


def test_a_bench_comes_back_from_the_trash_or_goes_for_good(tmp_path):
    from diffatlas.bench.packs.shipped import shipped_pack
    from tests.bench.stored_benches import stored_bench, verdict

    library = Libraries(tmp_path, False).of("")
    bench = stored_bench(library, shipped_pack("smoke"), lambda cell: verdict(True), seeds=2)
    services = Spoken(TrashServices(Libraries(tmp_path, False), {}))
    for again in (True, False):
        library.benches.trash(bench.id)
        (item,) = services.trashed("", {})["items"]
        assert (item["kind"], item["name"], item["told"][:2]) == ("bench", bench.title, ["bench", "4 images"])
        assert item["thumb"].startswith("data:image/")
        act = services.restore if again else services.forget
        assert act("", {"benches": [bench.id]}) == {"done": [bench.id], "refused": []}
        assert library.benches.count == again
    assert services.trashed("", {})["total"] == 0


def test_runs_in_the_trash_are_told_apart_by_what_was_asked(tmp_path):
    from tests.library.made_runs import made

    library = Libraries(tmp_path, False).of("")
    for number, extra in ((1, {"eta": 0.1}), (2, {"eta": 0.9})):
        library.save(made(number, prompt="alike", seed=5, extra=extra))
        library.trash(made(number).id)
    services = Spoken(TrashServices(Libraries(tmp_path, False), {}))
    names = {item["name"] for item in services.trashed("", {})["items"]}
    assert names == {"alike, eta 0.1", "alike, eta 0.9"}


def test_what_is_over_its_time_is_gone_before_it_is_shown(tmp_path):
    room = make(tmp_path, shared=False)
    old, new, _ = room.ids
    room.ask("trash", ids=[old, new])
    before = time.time() - 8 * 86_400
    os.utime(room.library.folder / ".trash" / old, (before, before))
    assert [item["id"] for item in room.ask("trashed")["items"]] == [new]
    assert not (room.library.folder / ".trash" / old).exists()


def test_details_are_those_of_the_run(room):
    told = room.ask("details", id=room.ids[1])
    assert told["params"]["prompt"] == PROMPTS[1]
    assert [frame["index"] for frame in told["frames"]] == [0, 1, 2]
    made = dict(told["made"])
    assert made["device"] == "cpu"
    assert made["scheduler: beta start"] == "0.00085"
    assert not any("_" in name or name.startswith("scheduler: diffusers") for name in made)
    assert told["link"] == f"?page=trajectory&run={room.ids[1]}"


def test_every_picture_of_a_run_is_there_at_its_full_size(room):
    run = room.ids[1]
    stored = room.library.open(run)
    told = room.ask("details", id=run)
    assert (len(told["frames"]), told["images"]) == (3, 1)
    for asked, pixels in (({"image": 0}, stored.images()[0]), ({"step": 1}, stored.preview(1)[0])):
        answer = room.ask("picture", id=run, **asked)
        with Image.open(answer["url"].removeprefix("gradio_api/file=")) as picture:
            assert np.array_equal(np.asarray(picture), pixels)
            assert picture.size == (answer["width"], answer["height"])
        assert answer["name"].startswith("diffatlas-a-blue-star-")
    for nonsense in ({"step": 3}, {"image": 1}, {"step": -1}, {"image": "first"}):
        assert "error" in room.ask("picture", id=run, **nonsense)


def test_two_runs_differ_in_what_was_asked(room):
    told = room.ask("difference", a=room.ids[0], b=room.ids[1])
    assert [(row["name"], row["a"], row["b"]) for row in told["settings"]] == [
        ("prompt", PROMPTS[0], PROMPTS[1]),
        ("seed", "0", "1"),
    ]
    assert told["machine"] == {"rows": [], "sentences": []}
    assert not told["path"]["identical"]
    assert len(told["path"]["figure"]["data"][0]["y"]) == 4
    same = room.ask("difference", a=room.ids[0], b=room.ids[0])
    assert same["settings"] == []
    assert same["path"]["identical"]


def test_opened_runs_are_locked_layers(room):
    room.ask("open", ids=room.ids[:2])
    layers = room.layers.of(visitor_of(request_of(SECRET)))
    assert {layer.id for layer in layers if layer.locked} >= set(room.ids[:2])


def test_one_run_is_explored_around_and_two_between(room):
    around = room.ask("explore", ids=room.ids[1:2])
    assert around["own"] == {"mode": "perturb"}
    assert (around["query"]["prompt"], around["query"]["seed"]) == ("a blue star", "1")
    between = room.ask("explore", ids=[room.ids[2], room.ids[0]])
    assert between["own"] == {"mode": "slerp", "to_seed": 0}
    assert between["query"]["seed"] == "2"
    assert "two to explore between" in room.ask("explore", ids=room.ids)["error"]["message"]


def test_a_replay_on_the_same_machine_is_identical(room):
    told = wait(room, "replay_state", room.ask("replay", id=room.ids[1])["job"])
    assert told["report"]["verdict"] == "identical", told
    assert told["report"]["image_identical"]


def test_a_dataset_comes_as_a_zip_and_goes_in_again(room, tmp_path):
    import zipfile

    told = wait(
        room, "job", room.ask("dataset", ids=room.ids[:2], per="run", licence="cc0-1.0", title="Two")["job"]
    )
    assert told["error"] is None, told
    path = told["result"]["url"].removeprefix("gradio_api/file=")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "dataset")
    readme = next((tmp_path / "dataset").rglob("README.md"))
    assert "Two" in readme.read_text()
    told = wait(room, "job", room.ask("import", source=str(readme.parent))["job"])
    assert told["error"] is None, told
    assert room.ask("find")["total"] == 3, "the same runs are not taken twice"


def test_a_dataset_says_what_it_takes_and_leaves_out_what_is_unchecked(room, tmp_path):
    import zipfile

    from tests.attended_runs import run_of
    from tests.formats.dataset.test_dataset_studies import sweep_in

    library = room.library
    attended, sweep = library.save(run_of(301, steps=2)), sweep_in(library)
    ids = [attended, *(cell.run_id for cell in sweep.cells if cell.run_id)]
    about = room.ask("dataset_about", ids=ids)
    assert about["with_attention"].startswith("5 runs, at most about ")
    assert about["without_attention"].endswith("is left out.")
    assert (about["attended"], about["studies"]) == (1, [sweep.title])
    assert room.ask("dataset_about", ids=ids[:2])["studies"] == []

    def tables(**options):
        told = wait(room, "job", room.ask("dataset", ids=ids, **options)["job"])
        assert told["error"] is None, told
        with zipfile.ZipFile(told["result"]["url"].removeprefix("gradio_api/file=")) as archive:
            archive.extractall(tmp_path / str(len(options)))
            return {Path(name).parent.name for name in archive.namelist() if name.endswith(".parquet")}

    assert tables() == {"data", "attention", "studies"}
    assert tables(attention=False, studies=False) == {"data"}
    library.studies.delete(sweep.id)
    source = next((tmp_path / "0").rglob("README.md")).parent
    told = wait(room, "job", room.ask("import", source=str(source))["job"])
    assert told["result"] == {"ids": [], "studies": [sweep.id], "notes": []}
    library.studies.delete(sweep.id)
    for run in ids:
        library.delete(run)


def test_what_comes_with_the_project_goes_in_on_a_shared_server_too(shared_room):
    room, visitor = shared_room, "3" * 32
    (offered,) = room.ask("find", visitor)["shipped"]
    told = wait(room, "job", room.ask("import", visitor, source=offered["name"])["job"], visitor)
    assert told["error"] is None, told
    assert room.ask("find", visitor)["total"] == len(told["result"]["ids"]) == 18


def test_pushing_needs_a_token_and_keeps_it_nowhere(room):
    refused = room.ask("push", ids=room.ids[:1], repo="me/runs", private=True, token="")
    assert "token" in refused["error"]["message"]


def test_a_shared_server_shows_each_visitor_their_own_runs(shared_room):
    room, run = shared_room, shared_room.ids[0]
    assert room.ask("find")["total"] == 3
    assert room.ask("find")["mode"] == "shared"
    assert room.ask("find")["expires"]
    theirs = room.ask("find", STRANGER)
    assert theirs["total"] == 0
    for name in ("details", "mark", "replay"):
        assert "error" in room.ask(name, STRANGER, id=run)
    assert room.ask("thumbs", STRANGER, ids=[run]) == {"thumbs": {}}
    assert "error" in room.ask("picture", STRANGER, id=run, image=0)
    for name in ("trash", "restore", "open", "forget"):
        assert "error" in room.ask(name, STRANGER, ids=[run])
    room.ask("trash", ids=[run])
    assert room.ask("trashed", STRANGER)["items"] == []
    assert room.ask("empty_trash", STRANGER, count=0) == {"done": []}
    for name in ("restore", "forget"):
        assert "error" in room.ask(name, STRANGER, ids=[run])
    assert room.ask("restore", ids=[run])["done"] == [run]
    assert "error" in room.ask("export", STRANGER, kind="csv", ids=[run])
    assert "error" in room.ask("difference", STRANGER, a=run, b=run)
    assert "error" in room.ask("find", None)
    assert room.ask("find")["total"] == 3


@pytest.mark.parametrize("source", ["/etc", "./here", "~/x", "..", "C:\\x"])
def test_a_shared_server_reads_no_folder_of_its_own_for_a_visitor(shared_room, source):
    told = wait(shared_room, "job", shared_room.ask("import", source=source)["job"])
    assert "a shared server reads no file of its own" in told["error"]["message"]


@pytest.mark.parametrize(
    "own", ["runs/x", "/etc/passwd", "visitors/me/aa/f.zip", "aa/../aa/f.zip", "aa/link.zip"]
)
def test_what_was_not_sent_is_no_upload(room, tmp_path, monkeypatch, own):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr("diffatlas.ui.sent_files.ARRIVES", 0.0)
    for name in ("visitors/me/aa/f.zip", "aa/f.zip"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"PK")
    (tmp_path / "aa/link.zip").symlink_to("/etc/passwd")
    told = room.ask("import", source="f.zip", upload=own if own.startswith("/") else f"{tmp_path}/{own}")
    assert "was not sent to the server" in told["error"]["message"]


def test_a_file_that_was_sent_comes_in_and_goes(shared_room, tmp_path, monkeypatch):
    room, visitor = shared_room, "4" * 32
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    data = bundle.zip([Named("a", run_of(2))])
    for content, said in ((data, None), (data[: len(data) // 2], "damaged"), (b"hello", "no zip")):
        (tmp_path / "aa").mkdir(exist_ok=True)
        (tmp_path / "aa/f.zip").write_bytes(content)
        asked = {"source": "f.zip", "upload": str(tmp_path / "aa/f.zip")}
        told = wait(room, "job", room.ask("import", visitor, **asked)["job"], visitor)
        if said is None:
            assert told["result"]["ids"] == [run_of(2).id]
        else:
            assert told["error"]["message"].startswith("f.zip")
            assert said in told["error"]["message"]
        assert not (tmp_path / "aa/f.zip").exists()
    assert room.ask("find", visitor)["total"] == 1
    assert room.ask("find")["total"] == 3


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("find", {"limit": -1}), ("find", {"limit": "many"}), ("find", {"sort": "'; drop table runs"}),
        ("find", {"attention": "some"}), ("find", {"attention": []}),
        ("details", {"id": "../.."}), ("details", {"id": None}), ("trash", {"ids": []}), ("trash", {"ids": "all"}),
        ("restore", {"ids": "all"}), ("forget", {}), ("forget", {"studies": [1]}), ("empty_trash", {}),
        ("export", {"kind": "exe", "ids": ["x"]}), ("job", {"job": "x"}), ("dataset", {"ids": ["x"], "per": "pixel"}),
    ],
)  # fmt: skip
def test_nonsense_is_answered_with_a_sentence(room, name, asked):
    message = room.ask(name, **asked)["error"]["message"]
    assert len(message) > 15
    assert "its log says why" not in message, "an unforeseen error"


@pytest.mark.parametrize(
    "changes",
    [
        {"loras": (Lora("/etc/ssl/style.safetensors"),)},
        {"subfolder": "../private"},
        {"model": "/srv/models/private"},
        {"revision": "refs/pr/1"},
    ],
)
def test_an_imported_run_makes_a_shared_server_read_nothing(shared_room, changes):
    run = keep(shared_room, **changes)
    answer = shared_room.ask("replay", id=run)
    assert "shared server" in answer["error"]["message"]
    assert "job" not in answer
    assert shared_room.ask("details", id=run)["params"]["prompt"]  # it can be looked at all the same
    shared_room.ask("open", ids=[run])
    viewer = Spoken(Services(shared_room.layers, shared_local_backend(), {}))
    visitor = visitor_of(request_of(SECRET))
    with pytest.raises(InvalidParams, match="shared server"):
        viewer.step(visitor, {"id": run, "index": 0, "decode": True})
    shared_room.ask("trash", ids=[run])


def test_a_run_tells_what_its_link_asks_and_what_else_it_has(room):
    run = keep(room, guidance_method="apg", guidance_options={"eta": 0.5}, noise=Noise("perturb", 8, 0.3))
    answer = room.ask("details", id=run)
    assert answer["query"].items() >= {
        "guidance_method": "apg", "guidance_options": "eta=0.5", "noise": "perturb, seed=8, amount=0.3",
    }.items()  # fmt: skip
    assert [name for name, *_ in answer["also"]] == ["method", "noise"]
    room.ask("trash", ids=[run])


def test_a_run_that_the_form_cannot_ask_for_is_not_explored(room):
    run = keep(room, loras=(Lora("style.safetensors", 0.8),))
    assert "LoRA" in room.ask("explore", ids=[run])["error"]["message"]
    room.ask("trash", ids=[run])


def test_the_recorded_runs_are_brought_in_once(tmp_path):
    room = make(tmp_path, shared=True)
    found = room.ask("example", STRANGER)["ids"]
    assert found == recorded_runs()
    assert room.ask("example", STRANGER)["ids"] == []
    assert {run["id"] for run in room.ask("find", STRANGER)["runs"]} == set(found)
    assert not {run["id"] for run in room.ask("find")["runs"]} & set(found)
