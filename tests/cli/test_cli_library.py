"""The commands that deal with the library."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas import cli
from diffatlas.events import Step
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from diffatlas.run import Run


def made(number: int, **changes) -> Run:
    rng = np.random.default_rng(number)
    params = GenerationParams(
        prompt=f"a {('heron', 'clock')[number % 2]} {number}",
        seed=number,
        num_inference_steps=2,
        width=64,
        height=64,
    )
    states = rng.normal(size=(3, 1, 4, 4, 4)).astype(np.float32)
    return replace(
        Run(
            id=f"20260131-120000-{number:08x}",
            params=params,
            status="complete",
            created=f"2026-01-31T12:00:{number:02d}.000+00:00",
            initial_latents=states[0],
            initial_sigma=1.0,
            total_steps=2,
            steps=tuple(Step(i, 1.0 - i, 0.5, states[i + 1]) for i in range(2)),
            images=(rng.integers(0, 256, (8, 8, 3), np.uint8),),
            provenance={"versions": {"torch": f"2.{number}"}},
        ),
        **changes,
    )


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    library = Library()
    for number in range(5):
        library.save(made(number))
    return library


@pytest.fixture
def ids() -> list[str]:
    return [made(number).id for number in range(5)]


def table(capsys) -> list[list[str]]:
    """The rows that a pipe gets, without the head."""
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]


def test_runs_are_listed_and_found(library: Library, ids: list[str], capsys) -> None:
    def listed(*arguments: str) -> list[str]:
        assert cli.run(["runs", *arguments]) == 0
        return [row[0] for row in table(capsys)]

    library.mark(ids[1], name="Zebra", tags=["paper", "draft"], locked=True)
    library.mark(ids[2], tags=["paper"])
    assert listed() == ids[::-1]
    assert listed("heron") == [ids[4], ids[2], ids[0]]
    assert listed("--tag", "paper") == [ids[2], ids[1]]
    assert listed("--tag", "paper", "--tag", "draft", "clock") == [ids[1]]
    assert listed("--sort", "seed", "--limit", "2") == ids[:2]
    assert listed("--sort", "name")[-1] == ids[1]
    assert listed("--model", "sdxl") == []
    library.save(made(5, capture={"attention": "cross"}))
    library.save(made(6, capture={"attention": "all"}))
    five, six = made(5).id, made(6).id
    assert listed("--attention", "any") == listed("--attention", "cross") == [six, five]
    assert listed("--attention", "self") == [six]
    assert listed("--attention", "none") == ids[::-1]
    assert cli.run(["runs", "--attention", "some"]) == 2
    assert "any, cross, self, all or none" in capsys.readouterr().err
    assert cli.run(["runs", "--attention", "self"]) == 0
    assert table(capsys)[0][-1] == "all"
    assert cli.run(["runs", "zebra"]) == 0
    (row,) = table(capsys)
    assert row == [
        ids[1],
        "complete",
        "2/2",
        "shapes",
        "1",
        "a clock 1",
        "Zebra",
        "paper, draft",
        "locked",
        "",
    ]


def test_marking(library: Library, ids: list[str], capsys) -> None:
    command = ["mark", ids[0], "--name", "First", "--tag", "a", "--tag", "b c", "--note", "why\nso", "--lock"]
    assert cli.run(command) == 0
    assert capsys.readouterr().out == f"{ids[0]}\n"
    info = library.open(ids[0]).info
    assert (info.name, info.tags, info.note, info.locked) == ("First", ("a", "b c"), "why\nso", True)
    assert cli.run(["mark", ids[0], "--tag", "", "--unlock"]) == 0
    info = library.open(ids[0]).info
    assert (info.name, info.tags, info.locked) == ("First", (), False)


def test_trash_and_back(library: Library, ids: list[str], capsys) -> None:
    assert cli.run(["trash", ids[0], ids[3], ids[0]]) == 0
    assert capsys.readouterr().out.split() == [ids[0], ids[3]]
    assert [info.id for info in library.list()] == [ids[4], ids[2], ids[1]]
    assert cli.run(["runs", "--trashed"]) == 0
    assert {row[0] for row in table(capsys)} == {ids[0], ids[3]}
    assert cli.run(["restore", ids[0]]) == 0
    assert ids[0] in {info.id for info in library.list()}
    capsys.readouterr()
    assert cli.run(["trash", "--empty"]) == 0
    assert capsys.readouterr().out.split() == [ids[3]]
    assert library.trashed() == []


def test_the_shell_lists_the_trash_and_deletes_one_for_good(library: Library, ids: list[str], capsys) -> None:
    assert cli.run(["trash", *ids[:3]]) == 0
    capsys.readouterr()
    assert cli.run(["trash", "--list"]) == 0
    assert {(row[0], row[1], row[4]) for row in table(capsys)} == {
        (run, "run", library.open_trashed(run).params.prompt) for run in ids[:3]
    }
    assert cli.run(["trash", ids[0], "--for-good"]) == 0
    assert {info.id for info in library.trashed()} == {*ids[1:3]}
    # What is not in the trash is not deleted for good.
    assert cli.run(["trash", ids[4], "--for-good"]) != 0
    assert ids[4] in {info.id for info in library.list()}
    for nonsense in (["trash"], ["trash", "--list", "--empty"], ["trash", "--empty", "--for-good"]):
        assert cli.run(nonsense) != 0
    assert len(library.trashed()) == 2


def test_comparing(library: Library, ids: list[str], capsys) -> None:
    assert cli.run(["compare", ids[0], ids[1]]) == 0
    rows = {row[0]: row[1:] for row in table(capsys)}
    assert rows["seed"] == ["0", "1"]
    assert rows["torch"] == ["2.0", "2.1"]
    assert rows["image"][0].startswith("differs by ")
    assert rows["path"][0].startswith("apart from state 0")
    assert "model" not in rows
    copy = library.save(replace(made(0), id="a-copy"))
    assert cli.run(["compare", ids[0], copy]) == 0
    assert table(capsys) == [["image", "identical", ""], ["path", "identical", ""]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runs", "--sort", "beauty"], "sorted by 'beauty'"),
        (["runs", "--limit", "-1"], "limit"),
        (["mark", "20260131-120000-00000000"], "--name"),
        (["mark", "absent", "--name", "x"], "no run 'absent'"),
        (["mark", "20260131-120000-00000000", "--name", "x" * 81], "81 characters"),
        (["trash", "absent"], "no run 'absent'"),
        (["trash"], "--empty"),
        (["trash", "20260131-120000-00000000", "--empty"], "--empty"),
        (["restore", "20260131-120000-00000000"], "trash has no run"),
        (["compare", "20260131-120000-00000000"], "RUN"),
        (["compare", "20260131-120000-00000000", "../x"], "no run"),
        (["replay", "absent"], "no run 'absent'"),
        (["dataset", "export", "absent", "--to", "nowhere"], "no run 'absent'"),
        (["dataset", "export", "20260131-120000-00000000"], "--to"),
        (["dataset", "push", "nowhere", "--to", "somebody/something"], ""),
        (["dataset", "push", "nowhere", "--to", "a/b", "--token", "hf_secret"], "--token"),
        (["dataset", "import", "/nowhere/at/all"], ""),
        (["dataset", "import", "/nowhere/at/all", "--max-gb", "inf"], "number of GB"),
        (["dataset", "export", "--to", "nowhere"], "no run to export"),
        (["dataset", "export", "--to", "nowhere", "--study", "absent"], "no study 'absent'"),
    ],
)
def test_a_wrong_request_is_exit_code_2_and_one_line(
    arguments: list[str], says: str, capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    assert captured.err.startswith("error: ")
    assert says in captured.err


def test_replay(sd_pipe, tmp_path: Path, library: Library, capsys) -> None:
    model = tmp_path / "sd"
    sd_pipe.save_pretrained(model)
    arguments = ["trace", "a red circle", "--model", str(model), "--steps", "2", "--previews", "off"]
    assert cli.run(arguments) == 0
    run_id = Path(capsys.readouterr().out.strip()).name
    assert cli.run(["replay", run_id]) == 0
    assert capsys.readouterr().out.startswith("Bit-identical")
    # Another initial state than the seed gives: a different path.
    run = library.load(run_id)
    library.save(replace(run, initial_latents=run.initial_latents + 1))
    assert cli.run(["replay", run_id]) == 1
    assert capsys.readouterr().out.startswith("Different")
    # Neither was recorded.
    assert len(library.list()) == 6


def test_a_dataset_there_and_back(
    library: Library, ids: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = tmp_path / "dataset"
    command = ["dataset", "export", *ids[:2], "--to", str(folder), "--licence", "mit", "--title", "Two birds"]
    assert cli.run(command) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    card = (folder / "README.md").read_text()
    assert "Two birds" in card
    assert "license: mit" in card
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "other"))
    assert cli.run(["dataset", "import", str(folder)]) == 0
    assert sorted(capsys.readouterr().out.split()) == ids[:2]
    for run_id in ids[:2]:
        assert Library().load(run_id).latents.tobytes() == library.load(run_id).latents.tobytes()
    assert cli.run(["dataset", "import", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "already" in captured.err


def test_attention_and_a_study_go_along(
    library: Library, ids: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    from tests.attended_runs import run_of
    from tests.formats.dataset.test_dataset_studies import sweep_in

    attended, sweep = library.save(run_of(300, steps=2)), sweep_in(library)
    command = ["dataset", "export", attended, "--study", sweep.id]
    assert cli.run([*command, "--size"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("5 runs, at most about ")
    assert "The attention of 1 of them is " in captured.err
    assert cli.run([*command, "--to", str(tmp_path / "d")]) == 0
    assert captured.err in capsys.readouterr().err
    bare = [*command, "--no-attention", "--to", str(tmp_path / "bare")]
    assert cli.run(bare) == 0
    assert "is left out" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "bare").iterdir() if path.is_dir()) == ["data", "studies"]
    assert cli.run(["dataset", "export", ids[0], "--attention", "--to", str(tmp_path / "none")]) == 2
    assert "None of these runs has attention" in capsys.readouterr().err
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "other"))
    assert cli.run(["dataset", "import", str(tmp_path / "d"), "--max-gb", "0.00001"]) == 2
    assert "holds more than 1e-05 GB" in capsys.readouterr().err
    assert cli.run(["dataset", "import", str(tmp_path / "d")]) == 0
    captured = capsys.readouterr()
    assert attended in captured.out.split()
    assert sweep.id not in captured.out
    assert f"The study {sweep.id} came with them" in captured.err
    assert Library().studies.open(sweep.id) == sweep
    assert len(Library().open(attended).attention(0)) == 2


def test_pushing(tmp_path: Path, monkeypatch, capsys) -> None:
    """The command sends the folder, private unless --public is given, and never a token of its own."""
    from diffatlas.formats.dataset import hub

    sent = []

    def push(folder, repo_id, *, token, private, progress):
        progress(0.5, "Sending")
        sent.append((folder, repo_id, token, private))
        return "https://hub.example/datasets/me/birds"

    monkeypatch.setattr(hub, "push", push)
    assert cli.run(["dataset", "push", "out", "--to", "me/birds"]) == 0
    assert cli.run(["dataset", "push", "out", "--to", "me/birds", "--public"]) == 0
    assert capsys.readouterr().out.split() == ["https://hub.example/datasets/me/birds"] * 2
    assert sent == [(Path("out"), "me/birds", None, True), (Path("out"), "me/birds", None, False)]


def test_an_export_is_named_as_its_run_is(library: Library, ids: list[str], tmp_path: Path) -> None:
    library.mark(ids[0], name="The heron")
    target = tmp_path / "out.json"
    assert cli.run(["export", *ids[:2], "--to", str(target)]) == 0
    layers = json.loads(target.read_text())["layers"]
    assert [layer["name"] for layer in layers] == ["The heron", "a clock 1"]
