from pathlib import Path

import pytest

from diffatlas import registry
from diffatlas.errors import UnknownModel
from diffatlas.registry import RegistryError, find_model, list_models, parse_line, read_registry


def test_the_shipped_registry_reads_and_begins_with_the_embedded_model():
    models = list_models()
    assert models[0].id == "shapes"
    assert (models[0].size, models[0].steps, models[0].guidance) == (64, 30, 3.0)
    # A form needs these before anything is fetched.
    assert all(m.size and m.steps and m.guidance is not None and m.mem and m.dtype for m in models)
    assert {"stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/sdxl-turbo"} <= {m.id for m in models}


def test_hints_leave_the_notes():
    entry = parse_line("a/b | A B | Small and quick. size=512 guidance=0 a=b steps=4")
    assert (entry.size, entry.guidance, entry.steps, entry.mem) == (512, 0.0, 4, None)
    assert entry.notes == "Small and quick. a=b"
    entry = parse_line("a/b | A B | variant=bf16 revision=refs/pr/3 subfolder=x/y")
    assert (entry.variant, entry.revision, entry.subfolder, entry.notes) == ("bf16", "refs/pr/3", "x/y", "")


@pytest.mark.parametrize(
    "line", ["", "# Models | here", "prose", "- `a | b | c` is a line", "<!-- a | b -->"]
)
def test_prose_is_no_model(line):
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a/b |", "expected"),
        ("| Name | notes", "expected"),
        ("a b | Name | notes", "space"),
        ("a | Name | size=big", "size=big"),
        ("a | Name | dtype=int8", "dtype=int8"),
        ("a | Name | variant=a.b", "variant=a.b"),
        ("a | Name | subfolder=../b", "subfolder=../b"),
        ("a | Name | revision=", "revision="),
        ("first | Again | twice", "twice"),
    ],
)
def test_a_malformed_line_is_reported_with_its_place(tmp_path: Path, line, reason):
    path = tmp_path / "local.md"
    path.write_text(f"# Heading\n\nfirst | First | notes\n{line}\n", encoding="utf-8")
    with pytest.raises(RegistryError, match=r"local\.md, line 4: .*" + reason):
        read_registry(path)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UnknownModel, match="'stabilityai/sdxl-turbo'"):
        find_model("stabilityai/sdxl-turb")


def test_another_folder_of_registries(tmp_path: Path, monkeypatch):
    (tmp_path / "local.md").write_text("mine | Mine | notes\n")
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path))
    assert [m.id for m in list_models()] == ["mine"]
    with pytest.raises(RegistryError, match="known are local"):
        list_models("nowhere")
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path / "absent"))
    with pytest.raises(RegistryError, match="DIFFATLAS_MODELS"):
        registry.models_folder()
