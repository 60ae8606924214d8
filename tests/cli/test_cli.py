import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diffatlas import cli
from diffatlas.cli.request import first_values
from diffatlas.library import Library
from diffatlas.library.reader import read_run
from tests import copied

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    # Without any bound no model is tried out before a run; a test of the bounds sets its own.
    monkeypatch.setenv("DIFFATLAS_MOST_MEMORY", "0")
    return tmp_path / "library"


@pytest.fixture(scope="session")
def model(sd_pipe, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("cli") / "sd"
    sd_pipe.save_pretrained(folder)
    return str(folder)


def trace(model, *more):
    return cli.run(["trace", "a red circle", "--model", model, "--seed", "7", "--steps", "3", *more])


def test_trace_writes_the_run_and_says_where(model, tmp_path, capsys):
    out = tmp_path / "run"
    assert trace(model, "--out", str(out), "--guidance", "3", "--scheduler", "euler") == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out)
    run = read_run(out)
    assert (run.status, run.params.seed, run.params.guidance_scale, run.params.scheduler) == (
        "complete",
        7,
        3.0,
        "euler",
    )
    assert len(run.steps) == 3
    assert all(s.preview is not None for s in run.steps)
    from PIL import Image

    assert np.array_equal(np.asarray(Image.open(out / "images" / "image_00.png")), run.images[0])


def test_trace_says_in_a_line_what_the_model_does_not_read(model, library, capfd):
    """And nothing of it besides: diffusers and transformers would warn in several."""
    prompt = "a" * 75 + "bcd"
    assert cli.run(["trace", prompt, "--model", model, "--seed", "7", "--steps", "2"]) == 0
    said = capfd.readouterr().err
    assert " ".join(said.split()) == "The model read 77 tokens of the prompt; it did not read: “bcd”."
    (info,) = Library().list()
    assert Library().open(info.id).provenance["prompt"]["cut"][0]["text"] == "bcd"
    # From the library it is said again.
    assert cli.run(["trace", prompt, "--model", model, "--seed", "7", "--steps", "2"]) == 0
    assert "did not read: “bcd”." in " ".join(capfd.readouterr().err.split())


def test_trace_without_out_goes_to_the_library(model, library, capsys):
    assert trace(model, "--previews", "off") == 0
    info = Library().list()[0]
    assert capsys.readouterr().out.strip() == str(library / info.id)
    assert cli.run(["runs"]) == 0
    assert info.id in capsys.readouterr().out


def test_attention_is_captured_as_asked(model, tmp_path):
    out = tmp_path / "run"
    how = ["--attention-layers", "mid", "--attention-layers", "up_blocks.*", "--attention-max-layers", "1"]
    how += ["--attention-every", "2", "--attention-heads", "each", "--attention-halves", "both"]
    assert trace(model, "--out", str(out), "--attention", "all", "--attention-resolution", "4", *how) == 0
    run = read_run(out)
    assert {name: value for name, value in run.capture.items() if name.startswith("attention")} == {
        "attention": "all",
        "attention_layers": ["mid", "up_blocks.*"],
        "attention_max_layers": 1,
        "attention_every": 2,
        "attention_heads": "each",
        "attention_halves": "both",
        "attention_resolution": 4,
    }
    assert [bool(step.attention) for step in run.steps] == [True, False, True]
    assert {key.partition(":")[0] for key in run.steps[0].attention} == {"cross", "self"}


def test_the_library_answers_with_attention_only_where_it_has_it(model, capsys):
    def made(*more):
        assert trace(model, "--previews", "off", *more) == 0
        return capsys.readouterr().out.strip().rpartition("/")[2]

    plain = made()
    watched = made("--attention", "cross")
    assert watched != plain
    assert made("--attention", "cross") == watched
    assert made("--attention", "cross", "--attention-layers", "mid") == watched
    assert made() in (plain, watched)
    assert len(Library().list()) == 2
    assert made("--attention", "all") not in (plain, watched)


def test_the_weights_and_loras_are_chosen(sd_pipe, tmp_path, capsys):
    import copy

    import torch
    from peft import LoraConfig, get_peft_model_state_dict

    model = tmp_path / "models" / "half"
    copy.deepcopy(sd_pipe).to(torch.float16).save_pretrained(model, variant="fp16")
    pipe = copy.deepcopy(sd_pipe)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False))
    pipe.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    lora = f"{tmp_path / 'pytorch_lora_weights.safetensors'}:0.5"
    named = ["--variant", "fp16", "--subfolder", "half", "--lora", lora]
    assert trace(str(model.parent), "--out", str(tmp_path / "run"), *named) == 0
    run = read_run(tmp_path / "run")
    assert run.provenance["variant"] == "fp16"
    assert [(one["name"], one["weight"]) for one in run.provenance["loras"]] == [
        ("pytorch_lora_weights.safetensors", 0.5)
    ]
    capsys.readouterr()
    for more, says in (
        (["--variant", "bf16"], "'bf16': it has 'fp16'"),
        (["--subfolder", "whole"], "there are pipelines in half"),
        (["--revision", "main"], "no revision 'main'"),
        (["--lora", "none.safetensors"], "no LoRA file 'none.safetensors'"),
        (["--lora", "old.bin:0.5"], "pickle"),
    ):
        assert trace(str(model.parent), "--subfolder", "half", *more) == 2
        errors = capsys.readouterr().err.strip().splitlines()
        assert len(errors) == 1
        assert says in errors[0]


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors:0.8", "a.safetensors", 0.8),
        ("user/name:a.safetensors", "user/name:a.safetensors", 1.0),
        ("user/name:a.safetensors:-1", "user/name:a.safetensors", -1.0),
        ("user/name:2", "user/name", 2.0),
    ],
)
def test_a_lora_is_named_with_its_weight(text, path, weight):
    from diffatlas.cli.request import lora_named

    assert (lora_named(text).path, lora_named(text).weight) == (path, weight)


def test_python_m_diffatlas_is_the_shell():
    def said(*command):
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120
        )

    one, other = said("-m", "diffatlas", "models"), said("-m", "diffatlas.cli", "models")
    assert (one.returncode, one.stdout) == (0, other.stdout)
    assert one.stdout.startswith("Model\t")
    wrong = said("-m", "diffatlas", "paint")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_out_is_not_overwritten_unasked(model, tmp_path, capsys):
    out = tmp_path / "run"
    assert trace(model, "--out", str(out)) == 0
    assert trace(model, "--out", str(out)) == 2
    assert "--overwrite" in capsys.readouterr().err
    # A wrong request must not cost the run that is there.
    assert trace(model, "--out", str(out), "--overwrite", "--width", "63") == 2
    assert len(read_run(out).steps) == 3
    assert trace(model, "--out", str(out), "--overwrite", "--steps", "2") == 0
    assert len(read_run(out).steps) == 2
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.tex").write_text("")
    assert trace(model, "--out", str(other), "--overwrite") == 2
    assert (other / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trace", ""], "prompt is empty"),
        (["trace"], "prompt"),
        (["trace", "x", "--model", "nope"], "'nope'"),
        (["trace", "x", "--steps", "0"], "number of steps"),
        (["trace", "x", "--steps", "many"], "--steps"),
        (["trace", "x", "--guidance", "-1"], "guidance scale"),
        (["trace", "x", "--seed", "-1"], "seed"),
        (["trace", "x", "--width", "63"], "multiple of 4"),
        (["trace", "x", "--scheduler", "flow_euler"], "those that fit are ddim"),
        (["trace", "x", "--previews", "some"], "previews"),
        (["trace", "x", "--attention", "some"], "'off', 'cross', 'self', 'all'"),
        (["trace", "x", "--attention", "cross", "--attention-every", "0"], "attention_every"),
        (["trace", "x", "--attention", "cross", "--attention-heads", "two"], "'mean', 'each'"),
        (["trace", "x", "--attention-every", "2"], "--attention-every is given, but attention is off"),
        (["trace", "x", "--attention", "off", "--attention-layers", "mid"], "add --attention cross"),
        (["trace", "x", "--nonsense"], "--nonsense"),
        (["paint"], "paint"),
    ],
)
def test_a_wrong_request_is_exit_code_2_and_one_line(arguments, says, capsys):
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("error: ")
    assert says in captured.err


def test_nan_is_exit_code_2_and_keeps_the_run(sd_pipe, tmp_path, library, capsys):
    import copy

    pipe = copy.deepcopy(sd_pipe)
    pipe.unet.conv_out.bias.data[0] = float("nan")
    pipe.save_pretrained(tmp_path / "sick")
    assert trace(str(tmp_path / "sick")) == 2
    assert "step 1 " in capsys.readouterr().err
    assert Library().list()[0].status == "failed"


@pytest.fixture
def stored(model) -> list[str]:
    """Two runs of one prompt and one of another, in the library; the newest is last."""
    assert trace(model, "--scheduler", "euler") == 0
    assert trace(model, "--scheduler", "ddim") == 0
    arguments = ["trace", "=2+2", "--model", model, "--steps", "2", "--previews", "off"]
    assert cli.run(arguments) == 0
    return [info.id for info in reversed(Library().list())]


def test_export_writes_what_the_ending_says(stored, tmp_path, capsys):
    capsys.readouterr()
    for suffix, head in ((".csv", b"layer,"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG"), (".npz", b"PK")):
        target = tmp_path / "new folder" / f"runs{suffix}"
        assert cli.run(["export", *stored, "--to", str(target)]) == 0
        assert capsys.readouterr().out == f"{target}\n"
        assert target.read_bytes().startswith(head)
    rows = list(csv.DictReader((tmp_path / "new folder" / "runs.csv").open(newline="", encoding="utf-8")))
    # A prompt names a layer where it is the only one of its kind.
    assert list(dict.fromkeys(row["layer"] for row in rows)) == [*stored[:2], "'=2+2"]
    assert [row["run"] for row in rows] == [
        run for run, n in zip(stored, (4, 4, 3), strict=True) for _ in range(n)
    ]


def test_an_export_that_cannot_be_made_is_one_line(stored, tmp_path, capsys):
    target = tmp_path / "there.json"
    target.write_text("precious")
    for arguments, says in [
        ([stored[0], "--to", str(tmp_path / "run.doc")], ".csv, .json, .npz"),
        ([stored[0], "--to", str(target)], "--overwrite"),
        ([stored[0], "--to", str(tmp_path), "--overwrite"], "names no kind"),
        (["20200101-000000-00000000", "--to", str(tmp_path / "a.csv")], "no run"),
        ([*stored[:2], "--to", str(tmp_path / "a.gif")], "one run, and 2 were named"),
        ([stored[2], "--to", str(tmp_path / "a.mp4")], "no previews"),
        ([stored[0], "--to", str(target / "a.csv")], "cannot be written"),
        (["--to", str(tmp_path / "a.csv")], "RUN_ID"),
        ([stored[0]], "--to"),
    ]:
        capsys.readouterr()
        assert cli.run(["export", *arguments]) == 2, arguments
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.strip().splitlines()) == 1
        assert says in captured.err
    assert target.read_text() == "precious"
    assert cli.run(["export", stored[0], "--to", str(target), "--overwrite"]) == 0
    assert json.loads(target.read_text())["layers"][0]["run"]["id"] == stored[0]
    assert not (tmp_path / "a.csv").exists()


def test_models_lists_the_registry(capsys):
    assert cli.run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("shapes\t")


def test_the_registry_gives_the_first_values():
    assert first_values("shapes", None, None) == {"num_inference_steps": 30, "guidance_scale": 3.0}
    assert first_values("shapes", 5, 0.0) == {"num_inference_steps": 5, "guidance_scale": 0.0}
    assert first_values("/a/folder", None, None) == {}


def test_the_program_is_quiet(model, tmp_path):
    """The real program, started from nothing: what it imports is quiet too."""
    # Without what the program has set in this process already.
    own = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "diffatlas.cli", "trace", "a red circle", "--model", model),
            *("--steps", "2", "--out", str(tmp_path / "r")),
        ],
        capture_output=True,
        text=True,
        env={**own, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        timeout=120,
    )
    assert done.stdout.splitlines() == [str(tmp_path / "r")]
    assert done.stderr == ""


def test_ctrl_c_stops_and_keeps_the_steps(model, tmp_path):
    folder, out, errors = tmp_path / "run", tmp_path / "out", tmp_path / "errors"
    command = ("trace", "a red circle", "--model", model, "--steps", "900", "--out", str(folder))
    child = copied.start(
        "-m", "diffatlas.cli", *command, folder=ROOT, environment=os.environ, out=out, errors=errors
    )
    steps = folder / "steps.jsonl"
    while child.is_alive() and not (steps.exists() and steps.read_text().count("\n") >= 3):
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGINT)
    child.join(60)
    told = (child.exitcode, out.read_text().strip(), errors.read_text().strip())
    assert told == (130, str(folder), "Stopped.")
    run = read_run(folder)
    assert run.status == "stopped"
    assert 3 <= len(run.steps) < 900
    assert json.loads((folder / "manifest.json").read_text())["steps"] == len(run.steps)


def test_what_is_above_the_bound_is_refused_unless_it_is_asked_for_anyway(
    model, tmp_path, library, monkeypatch, capsys
):
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.0001")
    monkeypatch.delenv("DIFFATLAS_MOST_MEMORY")
    assert trace(model) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert "the bounds here are less than a second and" in errors[0]
    assert errors[0].endswith("or add --anyway.")
    assert not list(Library().search().runs)
    assert trace(model, "--anyway") == 0
    # What the library has takes no time.
    assert trace(model) == 0
    sweep = ["sweep", "a red circle", "--model", model, "--steps", "3", "--values", "2,3"]
    assert cli.run(sweep) == 2
    assert not Library().studies.list(None)
    assert cli.run([*sweep, "--anyway"]) == 0


def test_without_any_bound_no_model_is_tried_out(model, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("The model was tried out.")

    monkeypatch.setattr("diffatlas.backends.local.LocalBackend.measure", refuse)
    assert trace(model, "--previews", "off") == 0
    monkeypatch.delenv("DIFFATLAS_MOST_MEMORY")
    with pytest.raises(AssertionError, match="tried out"):
        trace(model, "--previews", "off", "--again")


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.split()[-1] == version("diffatlas")
