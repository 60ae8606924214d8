"""The commands that run several things to be compared, on the embedded model."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffatlas import cli
from diffatlas.cli import request as cli_request
from diffatlas.cli import running
from diffatlas.errors import InvalidParams
from diffatlas.guidance import METHODS
from diffatlas.library import Library
from tests import copied

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "a red circle to the left of a blue square"


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    # Without any bound no model is tried out before a run; a test of the bounds sets its own.
    monkeypatch.setenv("DIFFATLAS_MOST_MEMORY", "0")
    return tmp_path / "library"


def run(command: str, *more: str) -> int:
    return cli.run(
        [command, PROMPT, "--seed", "7", "--steps", "2", "--device", "cpu", "--previews", "off", *more]
    )


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_the_cells_of_a_sweep_run_under_a_lora(tmp_path, shapes_pipe, capsys):
    import copy

    from peft import LoraConfig, get_peft_model_state_dict

    pipe = copy.deepcopy(shapes_pipe)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    pipe.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    lora = tmp_path / "pytorch_lora_weights.safetensors"
    assert run("sweep", "--values", "1; 3") == 0
    assert run("sweep", "--values", "1; 3", "--lora", f"{lora}:2") == 0
    assert {row["Status"] for row in table(capsys.readouterr().out) if row["Cell"] != "Cell"} == {"complete"}
    kept = [Library().load(info.id) for info in Library().list()]
    under = [stored for stored in kept if stored.params.loras]
    assert (len(kept), len(under)) == (4, 2)
    for stored in under:
        assert [(one["name"], one["weight"]) for one in stored.provenance["loras"]] == [(lora.name, 2.0)]
        (plain,) = [k for k in kept if k.params == stored.params.replace(loras=())]
        assert not np.allclose(stored.steps[-1].latents, plain.steps[-1].latents, atol=1e-2)


def test_a_sweep_is_a_table_files_runs_and_a_study(tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    asked = ("--values", "1; 3", "--lane", "scheduler=euler_a", "--exact", "--to", str(out))
    assert run("sweep", *asked) == 0
    captured = capsys.readouterr()
    rows = table(captured.out)
    assert [row["Cell"] for row in rows] == ["a-0-0", "a-0-1", "b-0-0", "b-0-1"]
    assert {row["Status"] for row in rows} == {"complete"}
    assert [row["Value"] for row in rows] == ["g 1", "g 3"] * 2
    assert len({row["Lane"] for row in rows}) == 2
    # A line per cell, and one per file.
    assert [line.split()[0] for line in captured.err.splitlines() if line.startswith("[")] == [
        f"[{k}/4]" for k in range(1, 5)
    ]
    files = {path.suffix: path for path in out.iterdir()}
    assert set(files) == {".csv", ".json", ".png", ".pdf"}
    assert all(str(path) in captured.err for path in files.values())

    (study,) = Library().studies.list()
    assert (study.operation, study.status, study.cells, study.done) == ("sweep", "complete", 4, 4)
    written = json.loads(files[".json"].read_text())
    assert written["study"]["id"] == study.id
    read = {cell["key"]: cell for cell in written["study"]["cells"]}
    exported = list(csv.DictReader(files[".csv"].open(newline="", encoding="utf-8")))
    runs = Library()
    for row, line in zip(rows, exported, strict=True):
        stored = runs.load(row["Run"])
        assert line["run"] == row["Run"] == read[row["Cell"]]["run_id"]
        assert stored.params.guidance_scale == float(line["value"])
        assert stored.params.scheduler == ("euler_a" if row["Lane"] == "euler_a" else "ddim")
    # The shell's numbers are those of the file, and the drift is that between the images.
    images = {row["Cell"]: runs.load(row["Run"]).images[0] / 255 for row in rows}
    for row, line in zip(rows, exported, strict=True):
        base = images[f"{row['Cell'][0]}-0-1"]
        assert float(line["drift_image"]) == pytest.approx(
            np.sqrt(np.mean((images[row["Cell"]] - base) ** 2)), abs=1e-6
        )
        assert float(row["Image"]) == pytest.approx(float(line["drift_image"]), rel=1e-3, abs=1e-9)
    assert Image.open(files[".png"]).width > 1000


def test_a_sweep_one_by_one_has_the_images_of_trace(capsys):
    assert run("sweep", "--field", "seed", "--values", "7 8", "--exact") == 0
    swept = [Library().load(row["Run"]) for row in table(capsys.readouterr().out)]
    for seed, found in zip((7, 8), swept, strict=True):
        assert run("trace", "--seed", str(seed), "--again") == 0
        alone = Library().load(Path(capsys.readouterr().out.strip()).name)
        assert np.array_equal(alone.images[0], found.images[0])


def test_what_the_library_has_is_not_run_again(capsys):
    assert run("sweep", "--values", "1,3") == 0
    first = table(capsys.readouterr().out)
    assert run("sweep", "--values", "1,3") == 0
    captured = capsys.readouterr()
    assert [row["Run"] for row in table(captured.out)] == [row["Run"] for row in first]
    assert captured.err.count("from the library") == 2
    assert run("sweep", "--values", "1,3", "--again") == 0
    assert not {row["Run"] for row in table(capsys.readouterr().out)} & {row["Run"] for row in first}


def test_a_study_is_listed_and_exported_again(tmp_path, capsys):
    assert run("sweep", "--values", "1,3") == 0
    shown = table(capsys.readouterr().out)
    assert cli.run(["studies"]) == 0
    (row,) = table(capsys.readouterr().out)
    assert (row["Operation"], row["Cells"]) == ("sweep", "2/2")
    assert cli.run(["studies", "--operation", "neighbourhood"]) == 0
    assert table(capsys.readouterr().out) == []
    asked = ["study", row["Study"], "--to", str(tmp_path / "out"), "--format", "csv, png"]
    assert cli.run(asked) == 0
    again = table(capsys.readouterr().out)
    assert [r["Run"] for r in again] == [r["Run"] for r in shown]
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".png"}
    # A file that is there stays, unless it is said that it may go.
    (file,) = (tmp_path / "out").glob("*.csv")
    file.write_text("precious")
    assert cli.run(asked) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert file.read_text() == "precious"
    assert cli.run([*asked, "--overwrite"]) == 0
    assert file.read_text().startswith("lane,")


def test_a_cell_that_fails_leaves_the_others_and_can_be_tried_again(tmp_path, capsys):
    assert run("sweep", "--field", "scheduler", "--values", "ddim,flow_euler", "--to", str(tmp_path)) == 2
    captured = capsys.readouterr()
    rows = table(captured.out)
    assert [row["Status"] for row in rows] == ["complete", "failed"]
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "1 of 2 cells failed" in errors[0]
    assert len(list(tmp_path.glob("diffatlas-*"))) == 4
    (study,) = Library().studies.list()
    assert cli.run(["study", study.id, "--retry", "--device", "cpu", "--previews", "off"]) == 2
    captured = capsys.readouterr()
    # Only the one that failed ran.
    assert [line[:5] for line in captured.err.splitlines() if line.startswith("[")] == ["[1/1]"]
    assert table(captured.out)[0]["Run"] == rows[0]["Run"]


def test_a_neighbourhood_of_perturbed_noise(tmp_path, capsys):
    asked = ("--k", "3", "--radius", "0.6", "--to", str(tmp_path), "--format", "json")
    assert run("neighbourhood", *asked) == 0
    rows = table(capsys.readouterr().out)
    assert len(rows) == 4
    (file,) = tmp_path.glob("*.json")
    cells = json.loads(file.read_text())["study"]["cells"]
    assert [cell["params"].get("noise", {}).get("amount") for cell in cells] == [None, 0.2, 0.4, 0.6]
    starts = [Library().load(row["Run"]).initial_latents for row in rows]
    apart = [float(np.linalg.norm(start - starts[0])) for start in starts]
    assert apart == sorted(apart)
    assert [float(row["Start"]) for row in rows] == sorted(float(row["Start"]) for row in rows)
    # The detector of the shapes model says what each shows.
    assert all(row["Contains"] for row in rows)


def test_a_neighbourhood_between_two_seeds_ends_at_both(capsys):
    assert run("neighbourhood", "--mode", "slerp", "--to-seed", "9", "--stops", "3", "--exact") == 0
    rows = table(capsys.readouterr().out)
    for row, seed in ((rows[0], 7), (rows[2], 9)):
        assert run("trace", "--seed", str(seed), "--again") == 0
        alone = Library().load(Path(capsys.readouterr().out.strip()).name)
        assert np.array_equal(Library().load(row["Run"]).images[0], alone.images[0])


def test_trace_takes_a_guidance_method(capsys):
    asked = ("--guidance", "6", "--guidance-method", "apg", "--guidance-option", "eta=0.5")
    assert run("trace", *asked, "--guidance-option", "momentum=-0.2") == 0
    stored = Library().load(Path(capsys.readouterr().out.strip()).name)
    assert stored.params.guidance_method == "apg"
    # The run says all of its options, those that were not given too.
    given = {"eta": 0.5, "momentum": -0.2}
    assert stored.params.guidance_options == {"norm": METHODS["apg"].options["norm"].default, **given}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sweep", PROMPT, "--values", "1,x"], "x"),
        (["sweep", PROMPT, "--values", ","], "1 to 32 values"),
        (["sweep", PROMPT, "--values", ",".join(map(str, range(200)))], "200"),
        (["sweep", PROMPT, "--field", "colour"], "colour"),
        (["sweep", PROMPT, "--seeds", "0"], "seeds"),
        (["sweep", "", "--values", "1"], "prompt is empty"),
        (["sweep", PROMPT, "--width", "63"], "multiple of 4"),
        (["sweep", PROMPT, "--model", "nope"], "'nope'"),
        (["sweep", PROMPT, "--lane", "euler"], "name=value"),
        (["sweep", PROMPT, "--lane", "colour=red"], "colour"),
        (["sweep", PROMPT, "--lane", "guidance_method=apg,colour=red"], "name=number"),
        (["sweep", PROMPT, "--lane", "scheduler=euler", "--lane", "scheduler=euler"], "the same"),
        (["sweep", PROMPT, "--format", "docx", "--to", "out"], "docx"),
        (["sweep", PROMPT, "--guidance-method", "magic"], "magic"),
        (["trace", PROMPT, "--guidance-option", "eta=0.5"], "need a guidance method"),
        (["trace", PROMPT, "--guidance-method", "apg", "--guidance-option", "eta"], "name=number"),
        (["neighbourhood", PROMPT, "--k", "0"], "number of neighbours is 0"),
        (["neighbourhood", PROMPT, "--radius", "1.5"], "radius is 1.5"),
        (["neighbourhood", PROMPT, "--mode", "sideways"], "sideways"),
        (["neighbourhood", PROMPT, "--mode", "slerp"], "seed"),
        (["studies", "--operation", "painting"], "painting"),
        (["study", "20200101-000000-00000000"], "20200101-000000-00000000"),
    ],
)
def test_a_wrong_request_is_exit_code_2_and_one_line(arguments, says, capsys, library):
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("error: ")
    assert says in captured.err
    # Nothing is kept of a request that was never run.
    assert not (library / ".studies").exists()


def test_lanes_are_read_as_names_with_values():
    assert running.lanes_of_options(
        ["model=a/b, scheduler=euler", "guidance_method=apg,eta=0.5,momentum=-1"]
    ) == [
        {"model": "a/b", "scheduler": "euler"},
        {"guidance_method": "apg", "guidance_options": {"eta": 0.5, "momentum": -1.0}},
    ]
    assert running.lanes_of_options(["guidance_method=plain"]) == [{"guidance_method": None}]
    assert running.lanes_of_options(None) == []
    with pytest.raises(InvalidParams, match="once"):
        running.lanes_of_options(["scheduler=euler,scheduler=ddim"])


def test_options_of_a_guidance_method_are_read_once_each():
    assert cli_request.method_options(["a=1", " b = -2.5"]) == {"a": 1.0, "b": -2.5}
    assert cli_request.method_options([]) is None
    for pairs in (["a=1", "a=2"], ["a"], ["a="], ["a=x"]):
        with pytest.raises(InvalidParams, match="name=number"):
            cli_request.method_options(pairs)


def test_ctrl_c_keeps_what_is_finished(library, tmp_path):
    asked = ("--field", "num_inference_steps", "--values", "2,900", "--device", "cpu", "--previews", "off")
    child = copied.start(
        *("-m", "diffatlas.cli", "sweep", PROMPT, *asked),
        folder=ROOT,
        environment=os.environ,
        out=tmp_path / "out",
        errors=tmp_path / "errors",
    )

    def long_run_began() -> bool:
        return any(path.read_text().count("\n") >= 3 for path in library.glob("*/steps.jsonl"))

    while child.is_alive() and not long_run_began():
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGINT)
    child.join(60)
    out, err = ((tmp_path / name).read_text() for name in ("out", "errors"))
    assert child.exitcode == 130, err
    assert [row["Status"] for row in table(out)] == ["complete", "stopped"]
    (study,) = Library().studies.list()
    assert (study.status, study.done) == ("stopped", 1)
    assert f"diffatlas study {study.id} --retry" in err
    assert "Traceback" not in err
