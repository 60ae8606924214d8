"""Hosted models from the shell, at a provider on loopback over real HTTP."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffatlas import cli
from diffatlas.registry import ELSEWHERE, HOSTED
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY

DEV = "black-forest-labs/flux-dev"
HOSTED_RUN = ("trace", "a red circle", "--backend", "replicate", "--seed", "3")


@pytest.fixture
def replicate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReplicate]:
    with FakeReplicate() as fake:
        for name, value in {
            "REPLICATE_API_TOKEN": KEY,
            "DIFFATLAS_HOSTED_URLS": json.dumps({"replicate": fake.url}),
            "DIFFATLAS_LIBRARY": str(tmp_path / "library"),
            "DIFFATLAS_HOSTED_LEDGER": str(tmp_path / "hosted.sqlite"),
        }.items():
            monkeypatch.setenv(name, value)
        yield fake


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_a_run_says_what_it_waited_for_and_what_was_not_heeded(replicate, tmp_path, capsys):
    replicate.fail("429 wait", 1)
    assert cli.run([*HOSTED_RUN, "--negative-prompt", "blue"]) == 0
    said = capsys.readouterr()
    folder = Path(said.out.strip())
    assert (folder / "images").is_dir() or any(folder.glob("*.png"))
    lines = said.err.splitlines()
    assert lines[0].startswith("Replicate asks to wait")
    assert lines[0].endswith("s left.")
    assert "FLUX.1 schnell takes no negative prompt: it is not sent." in lines
    (missing,) = [line for line in lines if line.startswith("Not recorded: the latents,")]
    assert missing.endswith("Replicate shows no latents: a hosted service returns only the finished image.")

    assert cli.run([*HOSTED_RUN]) == 0  # the model takes no negative prompt
    assert "From the library" in capsys.readouterr().err
    assert replicate.made == 1
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 3
    assert not any(KEY.encode() in content for content in kept)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--steps", "9"), "FLUX.1 schnell takes steps from 1 to 4, not 9."),
        (
            ("--backend", "nowhere"),
            "There is no backend 'nowhere': choose from local, remote, modal, ray, replicate,",
        ),
        (("--image", "circle.png"), "hosted models are given a prompt alone."),
        (("--scheduler", "euler"), "takes no scheduler"),
        (
            ("--device", "cuda"),
            "--device is for models that run on this machine, and none does here: leave it out.",
        ),
        (("--ignore-memory",), "--ignore-memory is for models that run on this machine"),
    ],
)
def test_what_cannot_run_is_one_line_and_paid_for_by_nobody(replicate, capsys, more, told):
    assert cli.run([*HOSTED_RUN, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert replicate.creations == []


@pytest.mark.parametrize("fault", ["401", "402", "refused content"])
def test_what_the_provider_refuses_is_one_line(replicate, capsys, fault):
    replicate.fail(fault)
    assert cli.run([*HOSTED_RUN]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "Replicate" in line
    assert KEY not in line


def test_without_a_key_the_error_says_where_to_get_one(replicate, capsys, monkeypatch):
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    assert cli.run([*HOSTED_RUN]) == 2
    said = capsys.readouterr().err
    assert "REPLICATE_API_TOKEN" in said
    assert "https://replicate.com/account/api-tokens" in said


def test_many_images_are_paid_for_only_when_that_was_said(replicate, capsys, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_CONFIRM", "3")
    # Two of the five values are beyond what the model takes, and cost nothing.
    asked = ["sweep", "a red circle", "--backend", "replicate", "--model", DEV]
    assert cli.run(asked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "3 images of FLUX.1 dev at Replicate, about $0.075 by the price in models/replicate.md" in line
    assert "--yes" in line
    assert replicate.creations == []
    assert cli.run([*asked, "--yes"]) == 2
    said = capsys.readouterr()
    statuses = [row["Status"] for row in table(said.out)]
    assert statuses == ["complete"] * 3 + ["failed"] * 2
    assert "takes a guidance scale from 0 to 10, not 12." in said.err
    assert replicate.made == 3
    # They are in the library now, so that there is nothing to ask.
    assert cli.run(asked) == 2
    assert replicate.made == 3


def test_a_sweep_of_what_the_model_does_not_heed_costs_nothing_and_asks_nothing(
    replicate, capsys, monkeypatch
):
    monkeypatch.setenv("DIFFATLAS_HOSTED_CONFIRM", "1")
    assert cli.run(["sweep", "a red circle", "--backend", "replicate", "--values", "1,2"]) == 2
    said = capsys.readouterr()
    assert [row["Status"] for row in table(said.out)] == ["failed"] * 2
    assert "FLUX.1 schnell takes no guidance scale: 1 is not sent." in said.err
    assert replicate.creations == []


def test_a_neighbourhood_is_one_of_seeds_where_nothing_else_is_taken(replicate, capsys):
    assert cli.run(["neighbourhood", "a red circle", "--backend", "replicate", "--k", "1"]) == 0
    assert [row["Status"] for row in table(capsys.readouterr().out)] == ["complete"] * 2


def test_a_bench_runs_at_a_provider(replicate, tmp_path, capsys):
    pack = tmp_path / "mine.json"
    task = {"id": "one", "prompt": "a red circle", "tag": "colour", "include": [{"class": "circle"}]}
    pack.write_text(
        json.dumps({"format": "diffatlas-pack-1", "name": "mine", "title": "Mine", "tasks": [task]})
    )
    asked = ["bench", "--pack", str(pack), "--seeds", "2", "--keep", "pictures", "--scorer", "shapes"]
    assert cli.run([*asked, "--backend", "replicate"]) == 0
    assert replicate.made == 2
    said = capsys.readouterr()
    assert "Hosted images paid for today: 2 images, about $0.006." in said.err
    assert table(said.out)[0]["Category"] == "colour"


def test_a_terminal_is_asked_and_may_say_no(replicate, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_CONFIRM", "1")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "diffatlas", *HOSTED_RUN]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(os.environ)) as shell:
        os.close(theirs)
        os.write(ours, b"n\n")
        said = b""
        try:
            while part := os.read(ours, 4096):
                said += part
        except OSError:
            pass  # the other end has closed
        os.close(ours)
        assert shell.wait(60) == 130
    assert b"1 image of FLUX.1 schnell at Replicate, about $0.003" in said.replace(b"\r\n", b" ")
    assert replicate.creations == []


def test_backends_say_where_their_keys_are_from_and_never_the_key(replicate, capsys, monkeypatch):
    monkeypatch.delenv("FAL_KEY", raising=False)
    cli.run([*HOSTED_RUN])
    capsys.readouterr()
    assert cli.run(["backends"]) == 0
    said = capsys.readouterr().out
    rows = {row["Backend"]: row for row in table(said)}
    assert tuple(rows) == ("local", *ELSEWHERE, *HOSTED)
    assert rows["replicate"]["Key"] == "from REPLICATE_API_TOKEN"
    assert rows["replicate"]["Made today"] == "1 image, about $0.003"
    assert rows["fal"]["Key"] == "none: set FAL_KEY"
    assert KEY not in said


def test_a_key_is_checked_and_nothing_is_paid(replicate, capsys, monkeypatch):
    assert cli.run(["backends", "check", "replicate"]) == 0
    assert capsys.readouterr().out == "Replicate takes the key.\n"
    monkeypatch.setenv("REPLICATE_API_TOKEN", "another-key")
    assert cli.run(["backends", "check", "replicate"]) == 2
    said = capsys.readouterr().err
    assert "another-key" not in said
    assert len(said.splitlines()) == 1
    assert replicate.creations == []


def test_models_of_a_provider_are_listed_with_what_they_take(capsys):
    assert cli.run(["models", "--backend", "replicate"]) == 0
    rows = {row["Model"]: row for row in table(capsys.readouterr().out)}
    schnell, dev = rows["black-forest-labs/flux-schnell"], rows[DEV]
    assert (schnell["Steps"], schnell["Guidance"]) == ("4 (1 to 4)", "none")
    assert (dev["Steps"], dev["Guidance"], dev["Dollars an image"]) == (
        "28 (1 to 50)",
        "3 (0 to 10)",
        "0.025",
    )
