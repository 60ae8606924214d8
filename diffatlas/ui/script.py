"""All modules of the pages as one script: a hundred small files take a browser seconds to fetch.

Each module becomes a function that is called once and returns what it exports, in the order in which they import each
other. The modules keep to what `_IMPORT` and `_EXPORT` read, so that this is all that there is to do.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence

_IMPORT = re.compile(r'^import \{(?P<names>[^}]*)\} from "(?P<file>\.\.?/[\w./-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?P<what>(?:async )?function\*? |class |const )(?P<name>[\w$]+)", re.MULTILINE)
_LATER = re.compile(r'\bimport\("(?P<file>\.\.?/[\w./-]+\.js)"\)')
#: Where libraries lie, which are not read.
_LIBRARIES = "vendor/"
_ADDRESS = "import.meta.url"
#: What is left where a module has another kind of import or export.
_UNREAD = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def one_script(entries: Sequence[str], read: Callable[[str], str]) -> str:
    """Return the source of a module that exports ``modules``: what each of ``entries`` exports, by file name.

    Files are named by their paths below the folder of the script. What is imported later (``import("./x.js")``) is
    there from the beginning. Libraries (``vendor/``) are not read: they are imported by their addresses, below that of
    the script. A module's own address is what it would be without the script.

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
            if not (name := _named(file, found["file"])).startswith(_LIBRARIES):
                add(name)
        for found in _IMPORT.finditer(source):
            name = _named(file, found["file"])
            if missing := set(_names(found["names"])) - exported[name]:
                raise ValueError(f"{file}: {name} does not export {', '.join(sorted(missing))}.")
        under_way.pop()
        exported[file] = {found["name"] for found in _EXPORT.finditer(source)}
        done[file] = _as_function(file, source)

    for file in entries:
        add(file)
    told = ", ".join(f'"{file}": {_variable(file)}' for file in entries)
    return "".join([*done.values(), f"export const modules = {{ {told} }};\n"])


def _as_function(file: str, source: str) -> str:
    exported = [found["name"] for found in _EXPORT.finditer(source)]
    text = _IMPORT.sub(lambda found: _taken(file, found), source)
    text = _EXPORT.sub(lambda found: f"{found['what']}{found['name']}", text)
    text = _LATER.sub(lambda found: _taken_later(_named(file, found["file"])), text)
    text = text.replace(_ADDRESS, f'new URL("{file}", {_ADDRESS}).href')
    if unread := _UNREAD.search(text):
        raise ValueError(f"{file}: {unread[0]!r} is an import or export of another kind.")
    return f"const {_variable(file)} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();\n"


def _names(names: str) -> list[str]:
    """Return the names in the braces of an import, as the module that they come from calls them."""
    return [name.split(" as ")[0].strip() for name in names.split(",") if name.strip()]


def _named(file: str, asked: str) -> str:
    """Return the path below the folder of the script of what ``file`` imports as ``asked``."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), asked))


def _taken(file: str, found: re.Match[str]) -> str:
    names = found["names"].replace(" as ", ": ")
    return f"const {{{names}}} = {_variable(_named(file, found['file']))};"


def _taken_later(name: str) -> str:
    return f'import("./{name}")' if name.startswith(_LIBRARIES) else f"Promise.resolve({_variable(name)})"


def _variable(file: str) -> str:
    return "$" + re.sub(r"\W", "_", file.removesuffix(".js"))
