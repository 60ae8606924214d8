"""A Space made of this checkout, on a Hub of the test's own; and what a Space is told to install."""

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import huggingface_hub.utils._http
import pytest
import yaml

from diffatlas.cli.program import run
from diffatlas.formats.space import TOP, write_space
from tests.formats.dataset.fake_hub import TOKEN, serve
from tests.space_requirements import wanted

ROOT = Path(__file__).parents[2]
NAME = "someone/atlas"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serve() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def test_a_space_is_made_and_brought_up_to_date(hub, capsys):
    assert run(["space", "create", NAME, "--hardware", "zero-a10g"]) == 0
    told = capsys.readouterr()
    assert told.out == f"{hub.address}/spaces/{NAME}\n"
    made = hub.created[0]
    assert (made["type"], made["sdk"], made["hardware"]) == ("space", "gradio", "zero-a10g")
    assert hub.private[NAME]
    files = hub.repos[NAME]
    assert {*TOP, "diffatlas/__init__.py", "diffatlas/ui/app.py", "models/local.md"} <= set(files)
    weights = "models/shapes/unet/diffusion_pytorch_model.safetensors"
    assert files[weights] == (ROOT / weights).read_bytes()
    assert not any("__pycache__" in name or name.startswith("tests") for name in files)

    files["diffatlas/gone.py"] = b"import nothing"
    files["own.md"] = b"The owner's."
    files["app.py"] = b"old"
    assert run(["space", "update", NAME, "--hardware", "cpu-basic"]) == 0
    assert "diffatlas/gone.py" not in files
    assert "own.md" in files
    assert files["app.py"] == (ROOT / "app.py").read_bytes()
    assert hub.hardware[NAME] == "cpu-basic"
    # What has no token asks about nothing that is anybody's.
    assert hub.tokens - {""} == {TOKEN}
    assert TOKEN not in told.out + told.err


def test_what_is_wrong_is_one_sentence(hub, monkeypatch, capsys):
    hub.repos[NAME] = {"app.py": b"another app", "index.html": b""}
    hub.private[NAME] = False

    def error(*arguments):
        assert run(["space", *arguments]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    assert "space update" in error("create", NAME)
    assert "no Space of Diffusion Atlas" in error("update", NAME)
    assert "not on the Hub" in error("update", "someone/else")
    assert "owner/name" in error("create", "atlas")
    hub.fail["/api/repos/create"] = [402, 1]
    assert "settings/billing" in error("create", "someone/new")
    monkeypatch.delenv("HF_TOKEN")
    assert "hf auth login" in error("create", "someone/new")
    assert hub.repos[NAME] == {"app.py": b"another app", "index.html": b""}


def test_what_is_written_runs_by_itself(tmp_path):
    write_space(tmp_path)
    code = "import diffatlas.registry as r, app; print(r.shipped_folder(), r.list_models()[0].id)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [str(tmp_path / "models"), "shapes"]


def test_a_space_installs_what_the_tests_run_on():
    assert (ROOT / "requirements.txt").read_text() == wanted(), "run python -m tests.space_requirements"


def test_the_readme_says_what_the_space_is():
    _, front, _ = (ROOT / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(front)
    assert (told["sdk"], told["app_file"]) == ("gradio", "app.py")
    assert f"gradio=={told['sdk_version']}" in (ROOT / "constraints.txt").read_text().splitlines()
    assert told["hf_oauth"]
    # To push a dataset is to make a repository and to write to it.
    assert set(told["hf_oauth_scopes"]) == {"write-repos", "manage-repos"}
    assert len(told["short_description"]) <= 60
