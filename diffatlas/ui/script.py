"""All modules of the pages as one script: a hundred small files take a browser seconds to fetch.

Each module becomes a function that is called once and returns what it exports, in the order in which they import each
other. The modules keep to what `_IMPORT` and `_EXPORT` read, so that this is all that there is to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_IMPORT = re.compile(r'^import \{(?P<names>[^}]*)\} from "\./(?P<file>[\w.-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?P<what>(?:async )?function\*? |class |const )(?P<name>[\w$]+)", re.MULTILINE)
_LATER = re.compile(r'\bimport\("\./(?P<file>[\w.-]+\.js)"\)')
#: What is left where a module has another kind of import or export.
_UNREAD = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def one_script(entries: Sequence[str], read: Callable[[str], str]) -> str:
    """Return the source of a module that exports ``modules``: what each of ``entries`` exports, by file name.

    What is imported later (``import("./x.js")``) is there from the beginning. Libraries in folders of their own are not
    read: they are imported by their addresses, beside that of the script.

    read: returns the source of a module by its file name.

    Raises ValueError for an import or export that is written in another way, for a name that a module does not export,
    and for modules that import each other.
    """
    done: dict[str, str] = {}
    exported: dict[str, set[str]] = {}
    under_way: list[str] = []

    def add(file: str) -> None:
        if file in done:
            return
        if file in under_way:
            raise ValueError(f"{' -> '.join([*under_way, file])}: these modules import each other.")
        under_way.append(file)
        source = read(file)
        for found in [*_IMPORT.finditer(source), *_LATER.finditer(source)]:
            add(found["file"])
        for found in _IMPORT.finditer(source):
            if missing := set(_names(found["names"])) - exported[found["file"]]:
                raise ValueError(f"{file}: {found['file']} does not export {', '.join(sorted(missing))}.")
        under_way.pop()
        exported[file] = {found["name"] for found in _EXPORT.finditer(source)}
        done[file] = _as_function(file, source)

    for file in entries:
        add(file)
    told = ", ".join(f'"{file}": {_variable(file)}' for file in entries)
    return "".join([*done.values(), f"export const modules = {{ {told} }};\n"])


def _as_function(file: str, source: str) -> str:
    exported = [found["name"] for found in _EXPORT.finditer(source)]
    text = _IMPORT.sub(_taken, source)
    text = _EXPORT.sub(lambda found: f"{found['what']}{found['name']}", text)
    text = _LATER.sub(lambda found: f"Promise.resolve({_variable(found['file'])})", text)
    if unread := _UNREAD.search(text):
        raise ValueError(f"{file}: {unread[0]!r} is an import or export of another kind.")
    return f"const {_variable(file)} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();\n"


def _names(names: str) -> list[str]:
    """Return the names in the braces of an import, as the module that they come from calls them."""
    return [name.split(" as ")[0].strip() for name in names.split(",") if name.strip()]


def _taken(found: re.Match[str]) -> str:
    names = found["names"].replace(" as ", ": ")
    return f"const {{{names}}} = {_variable(found['file'])};"


def _variable(file: str) -> str:
    return "$" + re.sub(r"\W", "_", file.removesuffix(".js"))
