"""The modules of the pages as one script."""

from __future__ import annotations

import re

import pytest

from diffatlas.export.html_bundle import STATIC
from diffatlas.ui.own_files import VIEWS
from diffatlas.ui.script import one_script

MODULES = {
    "a.js": 'import { one } from "./b.js";\nimport {\n  two as second,\n  Three,\n} from "./c.js";\n'
    '/** Mount. */\nexport async function mount() {\n  const { later } = await import("./d.js");\n'
    "  return [one, second, new Three(), later];\n}\n",
    "b.js": 'import { two } from "./c.js";\nexport const one = two - 1;\n',
    "c.js": "export const two = 2;\nexport class Three {}\nconst hidden = 4;\n",
    "d.js": "export function later() {}\n",
}


def test_each_module_comes_once_after_those_that_it_imports():
    source = one_script(["a.js", "b.js"], MODULES.__getitem__)
    assert re.findall(r"^const (\$\w+) = \(", source, re.MULTILINE) == ["$c", "$b", "$d", "$a"]
    assert "const {\n  two: second,\n  Three,\n} = $c;" in source
    assert "return { two, Three };" in source
    assert "await Promise.resolve($d);" in source
    assert source.endswith('export const modules = { "a.js": $a, "b.js": $b };\n')


@pytest.mark.parametrize(
    "line",
    [
        'import * as b from "./b.js";',
        'import b from "./b.js";',
        'import "./b.js";',
        'export { one } from "./b.js";',
        "export default 1;",
        "export let changing = 1;",
    ],
)
def test_what_it_does_not_read_is_refused_by_name(line):
    with pytest.raises(ValueError, match=r"a\.js"):
        one_script(["a.js"], {"a.js": line + "\n", "b.js": "export const one = 1;\n"}.__getitem__)


def test_modules_that_import_each_other_are_refused():
    around = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(ValueError, match=r"a\.js -> b\.js -> a\.js"):
        one_script(["a.js"], around.__getitem__)


def test_every_module_of_the_app_is_in_it():
    app_script = one_script(VIEWS, lambda name: (STATIC / name).read_text(encoding="utf-8"))
    held = set(re.findall(r"^const \$(\w+) = \(", app_script, re.MULTILINE))
    # Two stand in the page itself.
    assert {path.stem for path in STATIC.glob("*.js")} - {"early", "stream"} == held
