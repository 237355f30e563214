"""The rules of the house, executed: who may import what, how code is shaped, and what the repository may say.

Each rule is a pure checker that takes text and returns sentences. It is called on samples that break the rule, so that
the rule is known to bite, and on the real tree. A rule speaks only of what exists, so half a tree can keep it.
"""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

# ---------------------------------------------------------------------------------------------------------------------
# The plan of the house. A new module of src/catchment gets its floor here.

FLOORS = {
    "errors": 1,
    "asset": 1,
    "wallet": 1,
    "config": 1,
    "clock": 1,
    "symbol": 1,
    "signature": 2,
    "limits": 2,
    "margin": 2,
    "ledger": 2,
    "store": 3,
    "secrets_file": 3,
    "vault": 3,
    "writer": 4,
    "batcher": 4,
    "auditor": 4,
    "market": 4,
    "request_keeper": 4,
    "venue": 5,
    "listen_keys": 5,
    "shared_weights": 5,
    "copying": 5,
    "papi": 6,
    "stream": 6,
    "dashboard": 6,
    "admin": 6,
    "scenario": 6,
    "records": 6,
    "everybody": 6,
    "health": 6,
    "schedule": 6,
    "app": 7,
    "server": 7,
    "processes": 7,
    "cli": 8,
    "demo": 8,
    "__main__": 8,
    # The wings stand beside the house. On the top floor, because nothing below may lean on them.
    "autopilot": 8,
    "testing": 8,
}

FACES = ("papi", "stream", "dashboard", "admin")
BELOW_THE_VENUE = ("store", "writer", "batcher", "auditor", "request_keeper")
AUTOPILOT_MAY_IMPORT = ("autopilot", "signature", "errors", "asset")

# A list of what is allowed, since nobody can list every module that reads a clock or opens a file.
# fmt: off
PURE_MODULES = frozenset({
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "graphlib", "hashlib", "heapq", "hmac", "itertools", "json",
    "keyword", "math", "msgspec", "numbers", "operator", "re", "reprlib", "string", "struct", "textwrap",
    "types", "typing", "unicodedata", "zlib",
})
# fmt: on
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "breakpoint", "__import__"})
CLOCK_METHODS = frozenset({"now", "today", "utcnow"})

HOLDS_MONEY = ("ledger", "asset", "store", "margin", "market")
DIVIDES_MONEY = ("ledger", "asset", "margin", "market")  # a store may join paths with the same sign

LONGEST_FUNCTION = 69
LONGEST_DOCSTRING = 8
PROSE = re.compile(r"(?!\s*(\d+|[-*])\s)\s*\S")  # a list may be as long as what it lists
NAMES_THAT_SAY_NOTHING = frozenset(
    {"util", "utils", "helper", "helpers", "common", "commons", "manager", "managers", "service", "services"}
)

# Modules whose task is to know the live hosts, in order to refuse them.
NEVER_LIVE_GUARDS: frozenset[str] = frozenset()
# Pages for people; no API answers there.
HARMLESS_HOSTS = frozenset({"www", "developers", "academy"})

# ---------------------------------------------------------------------------------------------------------------------
# Reading the tree

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "catchment"


@dataclass(frozen=True)
class Module:
    """One parsed source file: its dotted name, its path in the repository, and what is in it."""

    name: str
    path: str
    tree: ast.Module
    source: str

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")

    @property
    def room(self) -> str:
        """The part of the dotted name below the package: `ledger.quota`; empty for the package itself."""
        return self.name.removeprefix(PACKAGE).removeprefix(".")


def parse(path: str, source: str) -> Module:
    parts = PurePosixPath(path).with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(source, path), source)


@cache
def repository_files() -> tuple[str, ...]:
    """Every file that is tracked or would be; what .gitignore names is no part of the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        hidden = re.compile(r"(^|/)(\.(?!ci/|github/)[^/]*/|__pycache__/|dist/)")
        found = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*"))
        listed = [path for path in found if not hidden.search(path)]
    return tuple(sorted({path for path in listed if path and (ROOT / path).is_file()}))


def read(path: str) -> str | None:
    """The text of a file, or None if it is not text."""
    content = (ROOT / path).read_bytes()
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


@cache
def modules(*tops: str) -> tuple[Module, ...]:
    paths = [path for path in repository_files() if path.endswith(".py") and path.startswith(tops)]
    return tuple(parse(path, (ROOT / path).read_text(encoding="utf-8")) for path in paths)


def house() -> tuple[Module, ...]:
    return modules(f"src/{PACKAGE}/")


def at(module: Module, node: ast.stmt | ast.expr) -> str:
    return f"{module.path}:{node.lineno}"


def is_in(name: str, *rooms: str) -> bool:
    """Whether a dotted name is one of these rooms of the house, or inside one."""
    return any(f"{name}.".startswith(f"{PACKAGE}.{room}.") for room in rooms)


@dataclass(frozen=True)
class Import:
    """One imported name. `from catchment import store` is read as an import of `catchment` and of `catchment.store`."""

    where: str
    base: str
    name: str

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.base, f"{self.base}.{self.name}") if self.name else (self.base,)


def imports(module: Module) -> Iterator[Import]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from (Import(at(module, node), alias.name, "") for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                if level:
                    parts = module.name.split(".")
                    parts = parts[: len(parts) - level + module.is_package]
                    base = ".".join([*parts, base] if base else parts)
                yield from (Import(at(module, node), base or "", alias.name) for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(base)), *_],
            ):
                yield Import(at(module, node), base, "")


def floor_of(name: str) -> int | None:
    """The floor of a dotted name: that of its longest part which is in the table."""
    if name == PACKAGE:
        return 0
    parts = name.removeprefix(f"{PACKAGE}.").split(".")
    for length in range(len(parts), 0, -1):
        if (floor := FLOORS.get(".".join(parts[:length]))) is not None:
            return floor
    return None


def is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def faults(checker: Callable[[Module], Iterable[str]], tree: Iterable[Module]) -> list[str]:
    return [sentence for module in tree for sentence in checker(module)]


def check_kept(sentences: Iterable[str]) -> None:
    """Fail with every sentence on a line of its own."""
    if listed := sorted(set(sentences)):
        pytest.fail("\n".join(listed), pytrace=False)


# ---------------------------------------------------------------------------------------------------------------------
# Floors


def without_floor(module: Module) -> Iterator[str]:
    if floor_of(module.name) is None:
        yield f"{module.path}: this module has no floor; give it one in FLOORS of tests/test_house.py."


def climbs(module: Module) -> Iterator[str]:
    own = floor_of(module.name)
    if own is None:
        return
    for found in imports(module):
        for target in filter(is_ours, found.targets):
            floor = floor_of(target)
            if floor is not None and floor > own:
                yield f"{found.where}: floor {own} may not import {target}, which is on floor {floor}."


def circle(tree: Iterable[Module]) -> list[str]:
    """One circle of imports, as the names on the way round; empty if there is none."""
    known = {module.name: module for module in tree}
    edges = {
        name: {
            target
            for found in imports(module)
            if (target := next((t for t in reversed(found.targets) if t in known), name)) != name
        }
        for name, module in known.items()
    }
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for target in sorted(edges[name]):
                if found := walk(target, [*way, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(known) if (found := walk(name, []))), [])


def test_every_module_has_a_floor() -> None:
    assert faults(without_floor, [parse("src/catchment/attic.py", "")])
    check_kept(faults(without_floor, house()))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("src/catchment/asset.py", "import catchment.limits"),
        ("src/catchment/asset.py", "from catchment import venue"),
        ("src/catchment/ledger/quota.py", "from ..store.base import Store"),
        ("src/catchment/store/__init__.py", "from .. import batcher"),
        ("src/catchment/venue.py", "def f():\n    from catchment.papi.rest import app"),
        ("src/catchment/venue.py", "if TYPE_CHECKING:\n    from catchment.app import App"),
        ("src/catchment/store/base.py", "importlib.import_module('catchment.venue')"),
        ("src/catchment/app.py", "import catchment.autopilot"),
        ("src/catchment/__init__.py", "from catchment.errors import Refusal"),
    ],
)
def test_a_lower_floor_that_imports_a_higher_one_is_seen(path: str, source: str) -> None:
    assert faults(climbs, [parse(path, source)])


def test_lower_floors_never_import_higher_ones() -> None:
    check_kept(faults(climbs, house()))


def test_no_circle_of_imports() -> None:
    ring = [
        parse("src/catchment/errors.py", "from . import asset"),
        parse("src/catchment/asset.py", "from catchment.wallet import Wallet"),
        parse("src/catchment/wallet.py", "if TYPE_CHECKING:\n    from . import errors"),
    ]
    assert circle(ring) == ["catchment.asset", "catchment.wallet", "catchment.errors", "catchment.asset"]
    assert circle(ring[:2]) == []
    if found := circle(house()):
        check_kept([f"These modules import each other in a circle: {' -> '.join(found)}."])


# ---------------------------------------------------------------------------------------------------------------------
# Rooms


def impurity(module: Module) -> Iterator[str]:
    """What keeps a module of the ledger from being pure."""
    if not is_in(module.name, "ledger"):
        return
    for found in imports(module):
        for target in found.targets[:1] if not is_ours(found.base) else found.targets:
            if is_ours(target):
                if target == f"{PACKAGE}.clock" or not (is_in(target, "ledger") or (floor_of(target) or 0) <= 1):
                    yield f"{found.where}: the ledger may not import {target}: itself and floor 1, less the clock."
            elif target.partition(".")[0] not in PURE_MODULES:
                yield f"{found.where}: the ledger may not import {target}: it is not among PURE_MODULES."
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield f"{at(module, node)}: the ledger may not call {name}()."
            case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK_METHODS:
                yield f"{at(module, node)}: the ledger may not call .{name}(): the time is handed to it."


def store_decides(module: Module) -> Iterator[str]:
    if is_in(module.name, "store"):
        for found in imports(module):
            if any(is_in(target, "ledger.ledger") for target in found.targets):
                yield f"{found.where}: a store may not import ledger.ledger: it keeps records, it decides nothing."


def face_reaches_around(module: Module) -> Iterator[str]:
    for face in FACES:
        if is_in(module.name, face):
            others = [room for room in (*BELOW_THE_VENUE, *FACES) if room != face]
            for found in imports(module):
                for target in found.targets:
                    if is_in(target, *others):
                        yield f"{found.where}: {face}/ may not import {target}: a face sees only the venue."


def autopilot_reaches_in(module: Module) -> Iterator[str]:
    if is_in(module.name, "autopilot"):
        for found in imports(module):
            for target in filter(is_ours, found.targets):
                if target != PACKAGE and not is_in(target, *AUTOPILOT_MAY_IMPORT):
                    yield f"{found.where}: autopilot/ may not import {target}: it knows an address, not our venue."


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from random import Random",
        "import logging as math",
        "import sqlite3",
        "from catchment.limits import MAXIMUM",
        "from catchment import clock",
        "from ..clock import Clock",
        "import importlib\nimportlib.import_module('socket')",
        "def f():\n    return open('x')",
        "print('x')",
        "from datetime import datetime\ndatetime.now()",
    ],
)
def test_an_impure_ledger_is_seen(source: str) -> None:
    assert faults(impurity, [parse("src/catchment/ledger/bad.py", source)])


def test_the_ledger_is_pure() -> None:
    good = "from decimal import Decimal\nimport msgspec\nfrom catchment.asset import Asset\nfrom . import quota\n"
    assert not faults(impurity, [parse("src/catchment/ledger/good.py", good)])
    check_kept(faults(impurity, house()))


@pytest.mark.parametrize("source", ["from catchment.ledger import ledger", "from ..ledger.ledger import decide"])
def test_a_store_that_decides_is_seen(source: str) -> None:
    assert faults(store_decides, [parse("src/catchment/store/bad.py", source)])


def test_stores_decide_nothing() -> None:
    assert not faults(store_decides, [parse("src/catchment/store/good.py", "from ..ledger.journal import Record")])
    check_kept(faults(store_decides, house()))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("src/catchment/papi/bad.py", "from catchment.store.base import Store"),
        ("src/catchment/stream/bad.py", "from catchment import batcher"),
        ("src/catchment/dashboard/__init__.py", "from ..papi import endpoints"),
        ("src/catchment/admin.py", "import catchment.stream.events"),
    ],
)
def test_a_face_that_reaches_around_the_venue_is_seen(path: str, source: str) -> None:
    assert faults(face_reaches_around, [parse(path, source)])


def test_faces_see_only_the_venue() -> None:
    good = "from catchment.venue import Venue\nfrom . import pages"
    assert not faults(face_reaches_around, [parse("src/catchment/dashboard/good.py", good)])
    check_kept(faults(face_reaches_around, house()))


@pytest.mark.parametrize("source", ["from catchment.venue import Venue", "from .. import limits"])
def test_an_autopilot_that_reaches_in_is_seen(source: str) -> None:
    assert faults(autopilot_reaches_in, [parse("src/catchment/autopilot/bad.py", source)])


def test_the_autopilot_stands_alone() -> None:
    assert not faults(autopilot_reaches_in, [parse("src/catchment/autopilot/good.py", "from .. import signature")])
    check_kept(faults(autopilot_reaches_in, house()))


# ---------------------------------------------------------------------------------------------------------------------
# The shape of code


def long_functions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{at(module, node)}: {node.name} has {lines} lines; {LONGEST_FUNCTION} are the most."


def says_nothing(name: str) -> bool:
    """Whether the last word of a name, in whatever case, is one of those that say nothing."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return bool(words) and words[-1].lower() in NAMES_THAT_SAY_NOTHING


def empty_file_names(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if any(says_nothing(part.partition(".")[0]) for part in PurePosixPath(path).parts):
            yield f"{path}: a name that says nothing; name it after what it knows."


def empty_class_names(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and says_nothing(node.name):
            yield f"{at(module, node)}: class {node.name} has a name that says nothing; name it after what it knows."


def docstring_faults(module: Module) -> Iterator[str]:
    text = ast.get_docstring(module.tree)
    if not text:
        yield f"{module.path}: a module opens with a docstring: what it is and what it may not do."
    elif not module.is_package and sum(1 for line in text.splitlines() if PROSE.match(line)) > LONGEST_DOCSTRING:
        yield f"{module.path}: the docstring has over {LONGEST_DOCSTRING} lines of prose; the rest belongs in docs/."


def test_functions_are_short() -> None:
    lines = "    x = 1\n" * LONGEST_FUNCTION
    assert faults(long_functions, [parse("src/catchment/bad.py", f"async def f():\n{lines}")])
    assert not faults(long_functions, [parse("src/catchment/good.py", f"def f(): # as long as may be\n{lines[10:]}")])
    check_kept(faults(long_functions, house()))


@pytest.mark.parametrize("name", ["utils", "http_utils", "Helper", "KeyManager", "UserService", "HTTPHelpers"])
def test_a_name_that_says_nothing_is_seen(name: str) -> None:
    assert faults(empty_class_names, [parse("src/catchment/bad.py", f"class {name}: pass")])
    assert list(empty_file_names([f"src/catchment/{name}.py", f"src/catchment/{name}/rest.py"]))


def test_names_say_something() -> None:
    assert not says_nothing("ServiceUnavailable")
    check_kept(empty_file_names(path for path in repository_files() if path.startswith(("src/", "tests/", "bench/"))))
    check_kept(faults(empty_class_names, modules("src/", "tests/", "bench/")))


@pytest.mark.parametrize("source", ["", "import os\n'''Too late.'''", '"""' + "line\n" * 9 + '"""'])
def test_a_module_without_a_fit_docstring_is_seen(source: str) -> None:
    assert faults(docstring_faults, [parse("src/catchment/bad.py", source)])


def test_modules_open_with_a_docstring() -> None:
    good = '"""What it is:\n\n' + "".join(f"{number:2}  A rule.\n" for number in range(1, 20)) + '"""'
    assert not faults(docstring_faults, [parse("src/catchment/good.py", good)])
    check_kept(faults(docstring_faults, house()))


# ---------------------------------------------------------------------------------------------------------------------
# Money and SQL


def floats(module: Module) -> Iterator[str]:
    if not is_in(module.name, *HOLDS_MONEY):
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Constant(value=float() | complex() as value):
                yield f"{at(module, node)}: {value!r} is a float; money is whole units."
            case ast.Call(func=ast.Name(id="float")):
                yield f"{at(module, node)}: float() has no place where money is; money is whole units."
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()) if is_in(module.name, *DIVIDES_MONEY):
                yield f"{at(module, node)}: '/' makes a float of whole units; '//' says how it rounds."


SQL = re.compile(
    r"""\s*(
        SELECT\s | WITH\s+\w+\s+AS\s | INSERT\s+(INTO|OR)\s | REPLACE\s+INTO\s | UPDATE\s+\S+\s+SET\s
        | DELETE\s+FROM\s | (CREATE|DROP|ALTER)\s+((UNIQUE|TEMP|VIRTUAL)\s+)*(TABLE|INDEX|VIEW|TRIGGER|SCHEMA|TYPE)\s
    )""",
    re.VERBOSE,
)
PRAGMA = re.compile(r"\s*PRAGMA\s")


def sql_in_code(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            text = literal(node)
            if SQL.match(text) or (PRAGMA.match(text) and not is_in(module.name, "store")):
                yield f"{at(module, node)}: SQL lives in src/{PACKAGE}/store/*.sql, named, and nowhere else."


def literal(node: ast.Constant | ast.JoinedStr) -> str:
    """The text of a string as it stands in the code, with `{}` where an f-string fills something in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return node.value if isinstance(node.value, str) else ""


def stray_sql_files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path.startswith("src/") and path.endswith(".sql") and not path.startswith(f"src/{PACKAGE}/store/"):
            yield f"{path}: SQL lives in src/{PACKAGE}/store/."


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("src/catchment/ledger/bad.py", "RATE = 0.5"),
        ("src/catchment/asset.py", "float('1')"),
        ("src/catchment/ledger/bad.py", "half = units / 2"),
        ("src/catchment/asset.py", "units /= 10"),
        ("src/catchment/store/bad.py", "f(-1e8)"),
    ],
)
def test_a_float_where_money_is_is_seen(path: str, source: str) -> None:
    assert faults(floats, [parse(path, source)])


def test_money_is_whole_units() -> None:
    assert not faults(floats, [parse("src/catchment/store/good.py", "path = folder / 'journal'\nunits = 3 // 2")])
    check_kept(faults(floats, house()))


@pytest.mark.parametrize(
    "source",
    [
        "q = 'SELECT 1'",
        'q = """\n  INSERT INTO account VALUES (?)"""',
        "q = f'UPDATE {table} SET version = 1'",
        "q = 'DELETE FROM account'",
        "q = 'CREATE TABLE account (id)'",
        "q = 'WITH a AS (x)'",
        "q = 'PRAGMA journal_mode = WAL'",
    ],
)
def test_sql_in_code_is_seen(source: str) -> None:
    assert faults(sql_in_code, [parse("src/catchment/venue.py", source)])


def test_sql_lives_in_the_store() -> None:
    innocent = "method = 'DELETE'\nline = 'DELETE /papi/v1/listenKey'\nhint = 'UPDATE the clock'"
    assert not faults(sql_in_code, [parse("src/catchment/papi/good.py", innocent)])
    assert not faults(sql_in_code, [parse("src/catchment/store/good.py", "q = 'PRAGMA synchronous = FULL'")])
    assert list(stray_sql_files(["src/catchment/papi/income.sql"]))
    check_kept(faults(sql_in_code, house()))
    check_kept(stray_sql_files(repository_files()))


# ---------------------------------------------------------------------------------------------------------------------
# What the repository may say

# In pieces, so that this file does not break its own rules.
LIVE_DOMAIN = "binance" + ".com"
MACHINE_FOLDERS = ("ro" + "ot", "ho" + "me", "wo" + "rk", "Us" + "ers")
LIVE_HOST = re.compile(r"([\w.-]+)\." + re.escape("binance") + r"\.(?:com|us|vision|me)\b", re.IGNORECASE)
REGISTRY_HOST = re.compile("|".join(("py" + r"pi\.org", "python" + "hosted", "npm" + "js")), re.IGNORECASE)
MACHINE_PATH = re.compile(rf"(?<![\w.~$}}>*-])/(?:{'|'.join(MACHINE_FOLDERS)})/\w")


def live_hosts(path: str, text: str) -> Iterator[str]:
    if path in NEVER_LIVE_GUARDS:
        return
    for number, line in enumerate(text.splitlines(), 1):
        for found in LIVE_HOST.finditer(line):
            if found[1].lower() not in HARMLESS_HOSTS:
                yield f"{path}:{number}: {found[0]} is a live host; nothing here may be able to reach it."


def foreign_words(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := REGISTRY_HOST.search(line):
            yield f"{path}:{number}: {found[0]} is a package registry; which one is used is for each machine to say."
        if found := MACHINE_PATH.search(line):
            yield f"{path}:{number}: {found[0]}… is a path of one machine."


LINK = re.compile(
    r"""
        \]\(\s*<?([^)\s>]+)                            # [text](target)
        | ^\[[^\]]+\]:\s+<?(\S+?)>?\s*$                # [name]: target
        | <(?:a|img)\s[^>]*?(?:href|src)="([^"]+)"      # HTML, which Markdown admits
    """,
    re.MULTILINE | re.VERBOSE,
)
CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def broken_links(path: str, text: str, known: Iterable[str]) -> Iterator[str]:
    """Links of a Markdown file to files that are not in the repository."""
    files = set(known)
    files |= {parent.as_posix() for file in known for parent in PurePosixPath(file).parents}
    for link in ("".join(groups) for groups in LINK.findall(CODE.sub("", text))):
        target = link.partition("#")[0].partition("?")[0]
        if not target or re.match(r"[a-z][a-z0-9+.-]*:|//", link, re.IGNORECASE):
            continue
        start = PurePosixPath() if target.startswith("/") else PurePosixPath(path).parent
        if flatten(start / target.lstrip("/")) not in files:
            yield f"{path}: the link to {link} leads nowhere."


def flatten(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) or "."


@pytest.mark.parametrize("name", ["papi", "api", "api1", "fapi", "dapi", "fstream", "ws-fapi", "stream.a"])
def test_a_live_host_is_seen(name: str) -> None:
    assert list(live_hosts("src/catchment/bad.py", f"url = 'https://{name}.{LIVE_DOMAIN}/'"))


def test_no_code_knows_a_live_host() -> None:
    assert not list(live_hosts("src/catchment/good.py", f"page = 'https://developers.{LIVE_DOMAIN}/docs'"))
    check_kept(
        sentence
        for module in modules("src/", "tests/", "bench/")
        for sentence in live_hosts(module.path, module.source)
    )


@pytest.mark.parametrize(
    "text",
    [
        "--index-url https://" + "py" + "pi.org/simple",
        "https://files." + "python" + "hosted.org/x",
        "registry." + "npm" + "js.org",
        "cd /ro" + "ot/x",
        "see '/ho" + "me/someone/x'",
        "file:///wo" + "rk/x",
    ],
)
def test_a_word_from_elsewhere_is_seen(text: str) -> None:
    assert list(foreign_words("README.md", text))


def test_the_repository_speaks_of_itself_alone() -> None:
    folder = "work"
    assert not list(foreign_words("README.md", f"https://example.com/home/page, src/{folder}/x and ~/{folder}/x"))
    check_kept(
        sentence for path in repository_files() if (found := read(path)) for sentence in foreign_words(path, found)
    )


@pytest.mark.parametrize(
    "link",
    ["[a](no.md)", "[a](../no.md#part)", "[a]: no.md", '<img alt="" src="no.png">', "[a](/docs/no.md)"],
)
def test_a_link_to_nowhere_is_seen(link: str) -> None:
    assert list(broken_links("docs/page.md", link, ["docs/page.md"]))


def test_links_lead_somewhere() -> None:
    good = "[a](page.md#x) [b](../LICENSE) [c](https://example.com) [d](#x) [e](..) `[f](no.md)`\n```\n[g](no.md)\n```"
    assert not list(broken_links("docs/page.md", good, ["docs/page.md", "LICENSE"]))
    check_kept(
        sentence
        for path in repository_files()
        if path.endswith(".md") and (found := read(path))
        for sentence in broken_links(path, found, repository_files())
    )


# ---------------------------------------------------------------------------------------------------------------------
# Tests, locks and the version

PYTEST_CHECKS = frozenset({"raises", "warns", "fail", "expect"})
CHECK_PREFIXES = ("assert_", "check_", "expect_")


def cannot_fail(module: Module) -> Iterator[str]:
    """Test functions in which nothing is checked."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            if any(is_check(inner) for inner in ast.walk(node)):
                continue
            yield f"{at(module, node)}: {node.name} checks nothing, so it cannot fail."


def is_check(node: ast.AST) -> bool:
    match node:
        case ast.Assert(test=test):
            return not isinstance(test, ast.Constant)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name in PYTEST_CHECKS or name.startswith(CHECK_PREFIXES)
    return False


def lock_faults(path: str, text: str) -> Iterator[str]:
    for pin in re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        name = pin.split("\n", maxsplit=1)[0].rstrip(" \\")
        if "==" not in name or "--hash=sha256:" not in pin:
            yield f"{path}: {name} is not pinned by version and hash."
    if re.search(r"://|^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", text, re.MULTILINE):
        yield f"{path}: a lock names no index."


def npm_lock_faults(path: str, text: str) -> Iterator[str]:
    for name, package in json.loads(text)["packages"].items():
        if name and not package.get("integrity", "").startswith("sha512-"):
            yield f"{path}: {name} is not pinned by its hash."
        if "resolved" in package:
            yield f"{path}: {name} names where it came from; set omit-lockfile-registry-resolved in .npmrc."


def not_locked(project: Mapping[str, object], lock: str) -> Iterator[str]:
    dependencies = project["dependencies"]
    assert isinstance(dependencies, list)
    for dependency in dependencies:
        found = re.match(r"[\w.-]+", dependency)
        name = re.sub(r"[-_.]+", "-", found[0]).lower() if found else dependency
        if not re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE):
            yield f"requirements/run.txt: {name} is missing; run `make lock`."


def declared_version(module: Module) -> str | None:
    """The value of `__version__ = "…"`, if a module says it so plainly."""
    for node in module.tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant(value=str(version)))
                | ast.AnnAssign(target=ast.Name(id="__version__"), value=ast.Constant(value=str(version)))
            ):
                return version
    return None


@pytest.mark.parametrize("body", ["pass", "f()", "assert True", "x = 1\n    checked(x)"])
def test_a_test_that_cannot_fail_is_seen(body: str) -> None:
    assert faults(cannot_fail, [parse("tests/test_bad.py", f"async def test_x():\n    {body}")])


def test_every_test_can_fail() -> None:
    good = "def test_x():\n    with pytest.raises(ValueError):\n        f()\ndef test_y():\n    check_books(1)"
    assert not faults(cannot_fail, [parse("tests/test_good.py", good)])
    check_kept(
        faults(cannot_fail, (module for module in modules("tests/") if PurePosixPath(module.path).match("test_*.py")))
    )


def test_locks_are_whole() -> None:
    good = "# made\nrich==1.0 \\\n    --hash=sha256:00\nclick==2.0 ; os_name == 'posix' \\\n    --hash=sha256:11\n"
    assert not list(lock_faults("run.txt", good))
    assert list(lock_faults("run.txt", good + "uvloop==1.0\n"))
    assert list(lock_faults("run.txt", "--index-url https://example.com\n" + good))
    assert list(not_locked({"dependencies": ["rich >=1", "msg_spec >=1"]}, good)) == [
        "requirements/run.txt: msg-spec is missing; run `make lock`."
    ]
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    check_kept(sentence for path in locks for sentence in lock_faults(path.name, path.read_text()))
    for bad in ('{"version": "1"}', '{"integrity": "sha512-00", "resolved": "file:x"}'):
        assert list(npm_lock_faults("package-lock.json", f'{{"packages": {{"": {{}}, "node_modules/x": {bad}}}}}'))
    npm_locks = [path for path in repository_files() if path.endswith("package-lock.json")]
    check_kept(sentence for path in npm_locks for sentence in npm_lock_faults(path, (ROOT / path).read_text()))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    check_kept(not_locked(project, (ROOT / "requirements/run.txt").read_text()))


def test_the_version_is_said_once() -> None:
    assert declared_version(parse("src/catchment/__init__.py", "__version__ = '9'")) == "9"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    said = [found for module in house() if module.name == PACKAGE and (found := declared_version(module))]
    assert said in ([], [version]), f"pyproject.toml says {version}, {PACKAGE}.__version__ says {said}"
