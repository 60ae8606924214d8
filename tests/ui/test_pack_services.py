"""Packs as the page asks for them: listed, checked as they are typed, kept, sent, and made by a form."""

from pathlib import Path

import pytest

from diffatlas.bench.packs.files import parse_pack
from diffatlas.bench.packs.own import version_of
from diffatlas.bench.packs.shipped import SHIPPED, shipped_pack
from diffatlas.bench.tasks import Exclude, Include, Question
from diffatlas.errors import InvalidParams
from diffatlas.ui import pack_services
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.pack_services import PackServices
from tests.spoken import Spoken

ME, YOU = "a" * 32, "b" * 32


@pytest.fixture
def services(tmp_path):
    return Spoken(PackServices(Libraries(tmp_path, shared=True)))


def _now(services):
    told = services.open(ME, {"name": "mine"})
    return {"instead": told["name"], "version": told["version"]}


def begun(services, name=""):
    return services.open(ME, {"name": name})["text"]


def test_a_new_pack_is_kept_renamed_copied_deleted_and_had_back_by_its_visitor_alone(services):
    assert [row["name"] for row in services.packs(ME)["packs"]] == list(SHIPPED)
    text = begun(services)
    assert services.keep(ME, {"text": text})["name"] == "mine"
    services.keep(ME, {"text": text.replace("My pack", "Ours"), "instead": "mine"})
    # Another tab had it open before that.
    stale = {"text": text, "instead": "mine", "version": version_of(text)}
    with pytest.raises(InvalidParams, match="changed elsewhere"):
        services.keep(ME, stale)
    services.keep(ME, {"text": text.replace("My pack", "Ours"), **_now(services)})
    # Whoever begins another one gets a name that is free.
    assert services.open(ME, {"name": ""})["name"] == "mine-2"
    assert services.rename(ME, {"name": "mine", "to": " bears "})["name"] == "bears"
    assert services.copy(ME, {"name": "bears"})["name"] == "bears-2"
    services.delete(ME, {"name": "bears"})
    own = [(row["name"], row["title"]) for row in services.packs(ME)["packs"] if row["own"]]
    assert own == [("bears-2", "Ours")]
    services.restore(ME, {"name": "bears"})
    assert services.open(ME, {"name": "bears"})["own"]
    assert not any(row["own"] for row in services.packs(YOU)["packs"])
    with pytest.raises(InvalidParams, match="no pack"):
        services.delete(YOU, {"name": "bears"})


def test_a_text_is_checked_as_it_is_typed(services):
    text = begun(services, "shapes-hard")
    told = services.check(ME, {"text": text, "seeds": 3})
    pack = shipped_pack("shapes-hard")
    assert (told["fault"], told["pack"]["name"]) == (None, "shapes-hard-2")
    assert (told["pack"]["prompts"], told["pack"]["images"]) == (len(pack.tasks), 3 * len(pack.tasks))
    assert {tag["tag"]: tag["prompts"] for tag in told["pack"]["tags"]} == dict.fromkeys(pack.tags, 12)
    lines = text.splitlines()
    assert all(lines[task["line"] - 1] == f"- id: {task['id']}" for task in told["pack"]["tasks"])
    fault = services.check(ME, {"text": text.replace("class: diamond", "class: 3", 1)})["fault"]
    assert (lines[fault["line"] - 1].strip(), fault["field"]) == (
        "- class: diamond",
        "tasks[0].include[0].class",
    )
    assert services.check(ME, {"text": "a: [\n"})["fault"]["field"] == ""


def test_a_form_adds_tasks_that_are_read_as_they_were_meant(services):
    text = begun(services)
    objects = [
        {"how": "exactly", "noun": "cup", "count": 2, "color": "red"},
        {"how": "none", "noun": "car"},
        {"how": "at least", "noun": "dog", "count": 1, "relation": "left of", "to": 1},
    ]
    task = {"text": text, "prompt": "cups", "tag": "cups", "kind": "objects", "objects": objects}
    told = services.add_task(ME, task)
    made = parse_pack(told["text"]).tasks[-1]
    assert made.include == (
        Include(noun="cup", count=2, color="red"),
        Include(noun="dog", position=("left of", 0)),
    )
    assert made.exclude == (Exclude(noun="cup", count=3, color="red"), Exclude(noun="car"))
    assert told["text"].splitlines()[told["line"] - 1].startswith("- id: cups-1")
    questions = [
        {"text": "A street?", "expected": "yes"},
        {"text": "A car?", "expected": "no", "after": [1], "skill": "absence"},
    ]
    asked = {
        "text": told["text"],
        "prompt": "a street",
        "tag": "s",
        "kind": "questions",
        "questions": questions,
    }
    assert parse_pack(services.add_task(ME, asked)["text"]).tasks[-1].questions == (
        Question(id="q1", text="A street?"),
        Question(id="q2", text="A car?", expected="no", skill="absence", parents=("q1",)),
    )
    for changed, field, words in (
        ({"objects": [*objects[:2], {**objects[2], "to": 2}]}, "objects[2].to", "does not come before"),
        (
            {"objects": [objects[1], {**objects[0], "noun": " "}]},
            "objects[1].noun",
            "Object 2: what it is is",
        ),
        ({"objects": []}, "objects", "add an object"),
        ({"prompt": ""}, "prompt", "prompt is"),
        ({"text": "name: 3"}, "text", "Mend the text first"),
    ):
        with pytest.raises(InvalidParams, match=words) as error:
            services.add_task(ME, {**task, **changed})
        assert error.value.field == field


def test_a_file_that_is_sent_is_kept_or_comes_back_to_be_mended(services, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))

    def sent(name, text):
        path = tmp_path / "cache" / "0123" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return {"upload": str(path)}

    text = begun(services) + "# The end.\n"
    assert services.take(ME, sent("a.yaml", text))["name"] == "mine"
    again = services.take(ME, sent("a.yaml", text))
    assert again["name"] == "mine-2"
    assert services.open(ME, {"name": "mine-2"})["text"] == text.replace("name: mine", "name: mine-2")
    assert list((tmp_path / "cache" / "0123").iterdir()) == []
    faulty = text.replace("tag:", "tags:")
    assert services.take(ME, sent("a.yml", faulty))["text"] == faulty
    line = '{"tag": "one", "prompt": "a car", "include": [{"class": "car", "count": 1}]}\n'
    assert services.take(ME, sent("metadata.jsonl", line))["name"] == "geneval"
    with pytest.raises(InvalidParams, match="line 1"):
        services.take(ME, sent("metadata.jsonl", line.replace("count", "counts").replace("class", "clas")))
    # One that is too large to be edited in the page can be kept, and says so.
    monkeypatch.setattr(pack_services, "MOST_TYPED", 1000)
    services.take(ME, sent("large_val.txt", "".join(f"a car number {number}\n" for number in range(30))))
    large = services.open(ME, {"name": "t2i-compbench"})
    assert (large["own"], large["text"]) == (True, "")
    assert "changed in a file" in large["large"]
    own = [row["name"] for row in services.packs(ME)["packs"] if row["own"]]
    assert own == ["geneval", "mine", "mine-2", "t2i-compbench"]


def test_a_text_is_exported_in_the_forms_that_can_say_it(services, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))

    def written(kind):
        file = services.export(ME, {"text": text, "kind": kind})
        assert file["name"] == f"mine.{kind}"
        return Path(file["url"].removeprefix("gradio_api/file=")).read_text(encoding="utf-8")

    text = begun(services)
    assert written("yaml") == text
    assert parse_pack(written("json")) == parse_pack(text)
    assert '"position": ["right of", 0]' in written("jsonl")
    asking = text.replace("include:", "kind: free\n  questions: []\n").split("  - class")[0]
    with pytest.raises(InvalidParams, match="questions, which GenEval"):
        services.export(ME, {"text": asking, "kind": "jsonl"})
