"""How many things a task demands, and the rates by that."""

import pytest

from diffatlas.bench.counted import count
from diffatlas.bench.difficulty import atoms, by_atoms
from diffatlas.bench.judgements import Judged, Judgement
from diffatlas.bench.tasks import Exclude, Include, Question, Task


def objects(*include, exclude=(), background=None):
    return Task(id="a", prompt="-", tag="-", include=include, exclude=tuple(exclude), background=background)


DOG, BEARS = Include(noun="dog"), Include(noun="bear", count=3)


@pytest.mark.parametrize(
    ("task", "number"),
    [
        (objects(DOG), 1),
        (objects(Include(noun="dog", color="brown")), 2),
        (objects(DOG, Include(noun="cat", color="red", position=("left of", 0))), 4),
        # "three bears", as GenEval says it: at least three and fewer than four.
        (objects(BEARS, exclude=[Exclude(noun="bear", count=4)]), 2),
        (objects(BEARS), 2),
        (objects(DOG, exclude=[Exclude(noun="dog", count=2)]), 2),
        (objects(exclude=[Exclude(noun="car")]), 1),
        # A dog that is not black.
        (objects(DOG, exclude=[Exclude(noun="dog", color="black")], background="white"), 3),
        (Task(id="a", prompt="-", tag="-", kind="questions", questions=(Question(id="q", text="?"),) * 4), 4),
        (Task(id="a", prompt="-", tag="-", kind="free"), None),
    ],
)
def test_each_thing_that_is_demanded_is_one(task, number):
    assert atoms(task) == number


def test_rates_go_by_what_is_demanded_whatever_the_category():
    judged = []
    for tag, colour, verdicts in (("a", None, "ppf"), ("b", None, "f-"), ("a", "red", "pf")):
        demand = Include(noun="dog", color=colour)
        task = Task(id=f"{tag}{colour}", prompt=f"{tag} {colour}", tag=tag, include=(demand,))
        said = {"p": "pass", "f": "fail", "-": "cannot judge"}
        judged += [Judged(task, k, Judgement(said[one])) for k, one in enumerate(verdicts)]
    free = Judged(Task(id="f", prompt="f", tag="f", kind="free"), 0, Judgement("pass"))
    one, two = by_atoms([*judged, free])
    assert (one.atoms, one.rate.value, one.rate.images, one.rate.prompts, one.unjudged) == (1, 0.5, 4, 2, 1)
    assert (two.atoms, two.rate) == (2, count(judged[-2:]).lines[0].rate)
    assert by_atoms([free]) == ()
