"""What the scripts of the pages ask, and take from answers, is what the wire has: read from their source.

That finds a call, a field or a property of an answer that was renamed, a field that is missing, and a value of another
kind where it is written out. It does not follow what is handed to other functions, nor what is spread into a question:
those the browser's tests hold against the same types, as every app of the tests checks what it is asked and what it
answers (``DIFFATLAS_CHECK_ANSWERS``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from diffatlas.ui.desks import LONG_CALLS, QUICK_CALLS
from diffatlas.ui.wire.call import Call, schema_of
from diffatlas.ui.wire.calls import CALLS
from diffatlas.ui.wire.kinds import Answer, Asked, Number, Whole
from tests.script_calls import Found, read_script

STATIC = Path(__file__).resolve().parents[2] / "diffatlas" / "ui" / "static"
SCRIPTS = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    return {
        path.name: read_script(path.read_text(encoding="utf-8"), CALLS, path.relative_to(STATIC).as_posix())
        for path in SCRIPTS
    }


def test_every_question_is_one_and_every_property_is_in_its_answer(found: dict[str, Found]) -> None:
    assert not [words for each in found.values() for words in each.wrong]


def test_much_of_the_scripts_is_read(found: dict[str, Found]) -> None:
    """Where the scripts ask in another way than the reader knows, it must learn that."""
    assert sum(each.fields for each in found.values()) > 100
    assert sum(each.properties for each in found.values()) > 80


def test_no_call_is_there_that_no_page_makes(found: dict[str, Found]) -> None:
    assert set(CALLS) <= set().union(*(each.named for each in found.values()))


def test_what_is_answered_at_desks_is_a_call() -> None:
    assert set(CALLS) >= LONG_CALLS | QUICK_CALLS


def test_every_type_has_a_schema() -> None:
    for name, call in CALLS.items():
        assert schema_of(call.asked)["additionalProperties"] is False, name
        assert schema_of(call.answered), name


@dataclass(frozen=True, kw_only=True)
class _Part(Asked):
    id: str
    index: Whole
    share: Number = 0.0


class _Inner(Answer):
    count: int


class _Told(Answer):
    name: str
    inner: _Inner


@pytest.mark.parametrize(
    ("script", "wrong"),
    [
        ('ask(server, "part", { id, index: 3, share: 0.5 });', ""),
        ('ask(server, "parts", { id, index });', "no call parts"),
        ('ask(server, "part", { id, index, position });', "does not ask position"),
        ('ask(server, "part", { id });', "asks index too"),
        ('ask(server, "part", { id, ...rest });', ""),
        ('ask(server, "part", { id, index: "3" });', "does not ask '3' as index"),
        ('ask(server, "part", { id, index: null });', "does not ask None as index"),
        ('store.want("part", busy ? null : { id, index, indx });', "does not ask indx"),
        ('function f() { const wish = { id, index, indx }; return ask(server, "part", wish); }', "does not ask indx"),
        ('const { name } = await ask(server, "part", wish);', ""),
        ('const { title } = await ask(server, "part", wish);', "has no title"),
        ('const { name: title, inner = 3 } = await ask(server, "part", wish);', ""),
        ('async function f() { const told = await ask(server, "part", wish); return told.title; }', "has no title"),
        ('async () => { let told; told = await ask(server, "part", wish); g(told?.inner.counts); }', "has no counts"),
        ('const { title } = await ask(server, "part", wish).catch(() => ({}));', "has no title"),
        ('ask(server, "part", wish).then(({ inner, title }) => inner);', "has no title"),
        ('ask(server, "part", wish).then((told) => told.inner.count + told.title);', "has no title"),
        ('const n = (await ask(server, "part", wish)).title;', "has no title"),
        ('store.want("part", wish, (told) => told.title);', "has no title"),
        ('const full = store.want("part", wish).value?.title;', "has no title"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_found(script: str, wrong: str) -> None:
    said = read_script(script, {"part": Call(_Part, _Told)}).wrong
    assert len(said) == bool(wrong), said
    assert not wrong or wrong in said[0]
