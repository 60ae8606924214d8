"""Boards of saved benches and comparisons of two, as the page asks for them."""

from dataclasses import replace

import pytest

from diffatlas.bench.bench import HAND, Mark, judged
from diffatlas.bench.board import digest_of
from diffatlas.bench.counted import count, differences
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.ui.board_services import BoardServices
from diffatlas.ui.libraries import Libraries
from tests.bench.stored_benches import BASE, CARD, stored_bench, verdict
from tests.spoken import Spoken

ME, YOU = "a" * 32, "b" * 32
PACK = shipped_pack("shapes", 2)


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    return Libraries(tmp_path / "library", shared=True)


@pytest.fixture
def services(libraries):
    return Spoken(BoardServices(libraries, {"shapes": "Shapes"}))


def even(cell):
    return verdict((cell.row + cell.column) % 2 == 0)


def most(cell):
    return verdict(cell.row % 4 > 0)


def side(bench, lane="a", scorer="shapes"):
    return {"bench": bench.id, "lane": lane, "scorer": scorer}


def test_rows_of_one_pack_and_one_card_share_a_board_and_others_do_not(libraries, services):
    library = libraries.of(ME)
    other = replace(
        PACK, name="mine", title="Mine", tasks=tuple(replace(one, id=f"z{one.id}") for one in PACK.tasks)
    )
    longer = BASE.replace(num_inference_steps=4)
    made = [
        stored_bench(library, PACK, even, lanes=[{"scheduler": "euler"}]),
        stored_bench(library, other, most, base=longer),
        stored_bench(library, PACK, most, card=replace(CARD, revision="2")),
        stored_bench(library, replace(PACK, tasks=PACK.tasks[1:]), most),
    ]
    boards = services.boards(ME)["boards"]
    assert {frozenset((row["bench"], row["lane"]) for row in board["rows"]) for board in boards} == {
        frozenset({(made[0].id, "a"), (made[0].id, "b"), (made[1].id, "a")}),
        frozenset({(made[2].id, "a")}),
        frozenset({(made[3].id, "a")}),
    }
    assert len({board["id"] for board in boards}) == 3
    shared = next(board for board in boards if len(board["rows"]) == 3)
    # What differs is in the names.
    names = {row["name"] for row in shared["rows"]}
    assert len(names) == 3
    assert any("4 steps" in name for name in names)
    benches = {bench.id: bench for bench in made}
    for row in shared["rows"]:
        told = count(judged(benches[row["bench"]], "shapes", row["lane"]))
        assert row["overall"]["value"] == told.overall.value
        assert (row["overall"]["low"], row["overall"]["high"]) == (told.overall.low, told.overall.high)
        assert [share["value"] for share in row["categories"]] == [line.rate.value for line in told.lines]
    assert services.boards(YOU)["boards"] == []
    with pytest.raises(RunNotFound):
        services.compare(YOU, {"first": side(made[0]), "second": side(made[0], "b")})


def test_marks_by_hand_count_where_they_are_to_and_have_a_board_of_their_own(libraries, services):
    library = libraries.of(ME)
    bench = stored_bench(library, PACK, lambda cell: None if cell.row == 0 else verdict(False))
    before = services.boards(ME)["boards"]
    assert [(row["overall"]["value"], row["marked"]) for board in before for row in board["rows"]] == [
        (0.0, 0)
    ]
    assert before[0]["rows"][0]["overall"]["unjudged"] == 2
    library.benches.mark(bench.id, "a-3-0", Mark("pass"))
    told = {board["scorer"]: board["rows"][0] for board in services.boards(ME)["boards"]}
    assert (told["shapes"]["marked"], told[HAND]["overall"]["value"]) == (1, 1.0)
    assert told["shapes"]["overall"]["value"] > 0
    alone = {board["scorer"]: board["rows"][0] for board in services.boards(ME, {"by_hand": False})["boards"]}
    assert (alone["shapes"]["marked"], alone["shapes"]["overall"]["value"]) == (0, 0.0)
    assert set(alone) == {"shapes", HAND}


def test_two_lanes_are_compared_by_category_and_image_by_image(libraries, services):
    library = libraries.of(ME)
    one = stored_bench(library, PACK, even)
    two = stored_bench(library, PACK, most, base=BASE.replace(seed=40))
    asked = {"first": side(one), "second": side(two)}
    told = services.compare(ME, asked)
    whole, found = differences(judged(one, "shapes"), judged(two, "shapes"))
    assert (told["all"]["difference"], told["all"]["p"]) == (whole.difference, whole.p)
    assert [(line["tag"], line["p"], line["detectable"]) for line in told["categories"]] == [
        (line.tag, line.adjusted, line.compared.detectable) for line in found
    ]
    assert told["notes"] == []
    assert "5" in told["first"]
    assert "40" in told["second"]
    figure = services.figure(ME, {**asked, "id": "x"})
    assert figure["layouts"]["1"]["meta"]["figure"] == "bench_compared"
    right = {
        which: {
            (task, k)
            for task in range(len(PACK.tasks))
            for k in range(2)
            if ((task + k) % 2 == 0, task % 4 > 0) == ((True, False) if which == "first" else (False, True))
        }
        for which in ("first", "second")
    }
    assert (told["only_first"], told["only_second"]) == (len(right["first"]), len(right["second"]))
    ids = [task.id for task in PACK.tasks]
    for which, expected in right.items():
        seen = []
        for offset in range(0, len(expected), 2):
            page = services.apart(ME, {**asked, "which": which, "offset": offset, "limit": 2})
            assert page["total"] == len(expected)
            seen += [
                (ids.index(pair["task"]), int(pair["first"]["cell"].split("-")[2])) for pair in page["pairs"]
            ]
            assert all(pair["first"]["picture"] and pair["second"]["picture"] for pair in page["pairs"])
            assert {pair["first"]["verdict"] for pair in page["pairs"]} == {
                "pass" if which == "first" else "fail"
            }
        assert set(seen) == expected
        assert len(seen) == len(expected)
    with pytest.raises(InvalidParams, match="the same"):
        services.compare(ME, {"first": side(one), "second": side(one)})


def test_what_keeps_two_from_being_alike_is_said(libraries, services):
    library = libraries.of(ME)
    one = stored_bench(library, PACK, even)
    fewer = stored_bench(library, replace(PACK, tasks=PACK.tasks[2:]), most, card=replace(CARD, revision="2"))
    library.benches.save(
        replace(
            fewer.study,
            cells=tuple(
                replace(cell, status="failed" if cell.row == 0 else "complete") for cell in fewer.study.cells
            ),
        )
    )
    notes = services.compare(ME, {"first": side(one), "second": side(fewer)})["notes"]
    assert len(notes) == 3
    assert "packs differ" in notes[0]
    assert "revision 2" in notes[1]
    assert "of the second 18 of 20" in notes[2].lower()


def test_a_pack_is_known_by_what_it_demands():
    same = replace(PACK, name="b", title="B", tasks=tuple(reversed(PACK.tasks)))
    assert digest_of(same) == digest_of(PACK)
    first, *rest = PACK.tasks
    for changed in (replace(first, tag="other"), replace(first, prompt="a star"), replace(first, exclude=())):
        alike = changed == first
        assert (digest_of(replace(PACK, tasks=(changed, *rest))) == digest_of(PACK)) == alike
