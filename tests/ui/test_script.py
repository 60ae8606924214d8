"""The modules of the pages as one script."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffatlas.formats.html.bundle import STATIC, VIEWER
from diffatlas.ui.own_files import VIEWS
from diffatlas.ui.script import one_script

ROOT = Path(__file__).parents[2]
#: Beside the Python that runs the tests, where pip puts it.
OXLINT = shutil.which("oxlint", path=Path(sys.executable).parent)

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


def test_modules_in_folders_are_found_from_where_they_are():
    files = {
        "page/a.js": 'import { b } from "../core/b.js";\nconst c = await import("./c.js");\n'
        'const three = await import("../vendor/three.js");\nexport const all = [b, c, three];\n',
        "page/c.js": "export const c = 1;\n",
        "core/b.js": 'export const b = new URL("../b.json", import.meta.url);\n',
    }
    source = one_script(["page/a.js"], files.__getitem__)
    assert re.findall(r"^const (\$\w+) = \(", source, re.MULTILINE) == ["$core_b", "$page_c", "$page_a"]
    assert "const { b } = $core_b;" in source
    assert "await Promise.resolve($page_c);" in source
    # By the addresses that they have from the script's, which is above the folders.
    assert 'import("./vendor/three.js")' in source
    assert 'new URL("../b.json", new URL("core/b.js", import.meta.url).href)' in source


#: What a folder of ``static/`` may import from; a page from all of these and from itself.
MAY_IMPORT = {
    "core": set(),
    "figures": {"core"},
    "form": {"core"},
    "runs": {"core", "figures", "form"},
}


def test_pages_import_nothing_of_each_other():
    wrong = []
    for name, text in sources().items():
        folder = name.partition("/")[0]
        may = MAY_IMPORT.get(folder, set(MAY_IMPORT)) | {folder}
        asked = re.findall(r'(?:from |import\()"(\.[\w./-]+)"', text)
        found = {resolved((STATIC / name).parent, one) for one in asked}
        wrong += [f"{name} imports {one}" for one in found if one.partition("/")[0] not in may | {"vendor"}]
    assert not wrong


def test_a_name_that_is_not_exported_is_refused():
    wrong = {"a.js": 'import { one as two, three } from "./b.js";\n', "b.js": "export const one = 1;\n"}
    with pytest.raises(ValueError, match=r"a\.js: b\.js does not export three\."):
        one_script(["a.js"], wrong.__getitem__)


def test_modules_that_import_each_other_are_refused():
    around = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(ValueError, match=r"a\.js -> b\.js -> a\.js"):
        one_script(["a.js"], around.__getitem__)


def test_every_module_of_the_app_is_in_it():
    app_script = one_script(VIEWS, lambda name: (STATIC / name).read_text(encoding="utf-8"))
    held = set(re.findall(r"^const \$(\w+) = \(", app_script, re.MULTILINE))
    # Two stand in the page itself.
    stems = {name.removesuffix(".js").replace("/", "_") for name in sources()}
    assert stems - {"core_early", "core_looks", "core_stream"} == held


def sources():
    paths = [path for path in STATIC.glob("*/*.js") if path.parent.name != "vendor"]
    return {path.relative_to(STATIC).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def resolved(folder, asked):
    return os.path.relpath(os.path.normpath(folder / asked), STATIC)


def imported(folder, source):
    """What a module in a folder imports: the name as it is exported, the name that it has here, and the file."""
    found = re.findall(r'^import \{([^}]*)\} from "([\w./-]+)";$', source, re.MULTILINE)
    names = [
        (name.strip(), resolved(folder, file))
        for many, file in found
        for name in many.split(",")
        if name.strip()
    ]
    return [(name.split(" as ")[0], name.split(" as ")[-1], file) for name, file in names]


@pytest.mark.parametrize("folder", [STATIC, VIEWER], ids=lambda folder: folder.name)
def test_the_linter_has_nothing_to_say(folder):
    """Names that nothing defines or exports, that nobody uses, circles of imports, and what is surely a mistake."""
    found = subprocess.run(
        [OXLINT, folder.relative_to(ROOT)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout
    assert re.search(r"on [1-9]\d* files", found.stdout), found.stdout


def test_the_pages_that_are_shown_early_are_those_of_the_app():
    early, pages = (
        re.search(r"const (?:PAGES|ALL) = (\[.*?\]);", sources()[name], re.DOTALL)[1]
        for name in ("core/early.js", "core/pages.js")
    )
    assert json.loads(early) == json.loads(pages)


#: Exports that tests alone import, in a browser.
OF_TESTS = {("attention/attention_picture.js", "resample"), ("runs/billboards.js", "bestPlace")}


def test_every_export_is_used_somewhere():
    texts = [((STATIC / name).parent, text) for name, text in sources().items()]
    texts += [(VIEWER, path.read_text(encoding="utf-8")) for path in VIEWER.glob("*.js")]
    taken = {(file, name) for folder, text in texts for name, _, file in imported(folder, text)}
    later = {
        resolved(folder, file)
        for folder, text in texts
        for file in re.findall(r'import\("([\w./-]+)"\)', text)
    }
    exported = {
        (file, name)
        for file, source in sources().items()
        for name in re.findall(
            r"^export (?:async )?(?:function\*?|class|const) ([\w$]+)", source, re.MULTILINE
        )
        if file not in (*VIEWS, *later)
    }
    assert exported - taken == OF_TESTS
