from pathlib import Path

import pytest

from diffatlas import registry
from diffatlas.errors import InvalidParams, UnknownModel
from diffatlas.registry import (
    ModelEntry,
    RegistryError,
    add_model,
    find_model,
    line_of,
    list_models,
    offer,
    own_models,
    parse_line,
    read_registry,
    remove_model,
    withdraw,
)


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
    # What judges images makes none.
    (tmp_path / "scorers.md").write_text("judge | Judge | kind=clip\n")
    with pytest.raises(RegistryError, match=r"known are local\."):
        list_models("scorers")
    monkeypatch.setenv("DIFFATLAS_MODELS", str(tmp_path / "absent"))
    with pytest.raises(RegistryError, match="DIFFATLAS_MODELS"):
        registry.models_folder()


@pytest.fixture
def own(tmp_path: Path, monkeypatch) -> Path:
    """The user's own registry, which is not there yet."""
    path = tmp_path / "deep" / "models.md"
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(path))
    monkeypatch.delenv("DIFFATLAS_MODE", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    return path


def test_what_a_user_adds_comes_after_what_ships_and_goes_again(own):
    shipped = list_models()
    kept = add_model(ModelEntry("a/b", "A B", notes="Mine.", size=512, guidance=7.5, mem=2.1, dtype="fp16"))
    assert list_models() == [*shipped, kept]
    assert find_model("a/b").provider == "user"
    # The file is a registry like any other, for whoever reads it without this module.
    lines = [line for line in own.read_text().splitlines() if "|" in line]
    assert lines == ["a/b | A B | Mine. size=512 guidance=7.5 mem=2.1 dtype=fp16"]
    remove_model("a/b")
    assert list_models() == shipped
    assert own.is_file()


def test_ways_of_a_vae_are_kept_in_one_order(own):
    """Else two lines that say the same would have two identities."""
    assert add_model(ModelEntry("a/b", "A B", vae="fp32,tiling")).vae == "tiling,fp32"
    assert find_model("a/b").vae == "tiling,fp32"


def test_prose_and_other_lines_of_the_users_file_stay(own):
    own.parent.mkdir()
    own.write_text("# Mine\n\nWhy I keep them.\n\nx/y | X\n")
    add_model(ModelEntry("a/b", "A B"))
    remove_model("x/y")
    assert own.read_text() == "# Mine\n\nWhy I keep them.\n\na/b | A B |\n"
    assert [path.name for path in own.parent.iterdir()] == ["models.md"]


@pytest.mark.parametrize(
    "entry",
    [
        ModelEntry("/home/me/my models/x y", "X Y", size=64),
        ModelEntry("C:\\models\\x", "X", subfolder="a/b", variant="fp16", revision="refs/pr/3"),
        ModelEntry("/my files/x.safetensors", "X", config="/my configs/sd"),
        ModelEntry("a/b", 'The "best"', notes="a=b and more", steps=4, guidance=0.0, mem=12.345678901),
        ModelEntry("a/b", "A", offload="group", vae="tiling,slicing,fp32", compile="max-autotune"),
    ],
)
def test_a_line_says_all_of_an_entry(entry):
    assert parse_line(line_of(entry)) == entry


@pytest.mark.parametrize(
    "entry",
    [
        ModelEntry("/a|b", "A"), ModelEntry("a/b", "A|B"), ModelEntry("a/b", "A\nc/d | C"), ModelEntry("#a", "A"),
        ModelEntry("a`b", "A"), ModelEntry("a/b", "A", notes="steps=4"), ModelEntry("", "A"), ModelEntry("a/b", ""),
        ModelEntry('/a "b" c', "A"), ModelEntry("a/b", "A", offload="disk"), ModelEntry("a/b", "A", vae="tiles"),
        ModelEntry("a/b", "A", compile="fast"),
    ],
)  # fmt: skip
def test_what_no_line_can_say_is_refused(own, entry):
    with pytest.raises(RegistryError, match="cannot be kept"):
        add_model(entry)
    with pytest.raises(RegistryError, match="cannot be kept"):
        line_of(entry)
    assert not own.exists()


def test_what_cannot_be_added_or_removed_is_said(own):
    add_model(ModelEntry("a/b", "A B"))
    for listed in ("a/b", "shapes"):
        with pytest.raises(RegistryError, match=f"'{listed}' is listed already"):
            add_model(ModelEntry(listed, "Again"))
    with pytest.raises(RegistryError, match="'shapes' ships with diffatlas"):
        remove_model("shapes")
    with pytest.raises(RegistryError, match="'c/d' is not in your own list"):
        remove_model("c/d")
    assert [entry.id for entry in own_models()] == ["a/b"]


def test_a_damaged_file_of_the_users_is_one_sentence(own):
    own.parent.mkdir()
    own.write_text("a/b | A B\na/b | Again\n")
    for act in (list_models, lambda: add_model(ModelEntry("c/d", "C")), lambda: remove_model("a/b")):
        with pytest.raises(
            RegistryError, match=r"models\.md, line 2: .*; correct or delete that file\.$"
        ) as caught:
            act()
        assert str(own) in caught.value.message
    assert own.read_text() == "a/b | A B\na/b | Again\n"


def test_a_file_that_cannot_be_written_is_one_sentence(own):
    own.parent.write_text("in the way")
    with pytest.raises(RegistryError, match="cannot be written"):
        add_model(ModelEntry("a/b", "A B"))


@pytest.mark.parametrize("variables", [{"DIFFATLAS_MODE": "shared"}, {"SPACE_ID": "me/space"}])
def test_a_shared_server_has_no_models_of_its_users(own, monkeypatch, variables):
    add_model(ModelEntry("a/b", "A B"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert "a/b" not in {entry.id for entry in list_models()}
    for act in (lambda: add_model(ModelEntry("c/d", "C")), lambda: remove_model("a/b")):
        with pytest.raises(RegistryError, match="shared server"):
            act()
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    assert "a/b" in {entry.id for entry in list_models()}


def test_a_users_line_stands_in_place_of_one_that_ships_later(own):
    own.parent.mkdir()
    own.write_text("stabilityai/sd-turbo | Pinned | revision=abc\n")
    before = [entry.id for entry in list_models()]
    assert find_model("stabilityai/sd-turbo").revision == "abc"
    remove_model("stabilityai/sd-turbo")
    assert [entry.id for entry in list_models()] == before
    assert find_model("stabilityai/sd-turbo").revision is None


def test_a_pipeline_in_memory_comes_first_until_it_is_withdrawn(own):
    listed = list_models()
    add_model(ModelEntry("a/b", "A B"))
    offer(ModelEntry("mine", "Mine", size=64))
    try:
        assert list_models()[0] == ModelEntry("mine", "Mine", size=64, provider="memory")
        for taken in ("mine", "shapes", "a/b"):
            with pytest.raises(InvalidParams, match="is a model of the list already"):
                offer(ModelEntry(taken, "Again"))
        with pytest.raises(RegistryError, match="listed already"):
            add_model(ModelEntry("mine", "Again"))
        assert "mine" not in own.read_text()
    finally:
        withdraw("mine")
    withdraw("mine")
    remove_model("a/b")
    assert list_models() == listed


def test_an_offered_model_comes_first_until_it_is_withdrawn():
    listed = list_models("local")
    mine = ModelEntry("mine", "Mine", provider="memory")
    offer(mine)
    try:
        offer(mine)
        assert list_models("local") == [mine, *listed]
        assert find_model("mine") == mine
        for taken in (ModelEntry("mine", "Another"), ModelEntry(listed[0].id, "Another")):
            with pytest.raises(InvalidParams, match="is a model of the list already"):
                offer(taken)
    finally:
        withdraw("mine")
    withdraw("mine")
    assert list_models("local") == listed
