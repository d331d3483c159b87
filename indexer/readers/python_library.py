"""Print the documentation of this interpreter's standard library, one JSON object a line.

Run by ``readers.python_docs`` in a process of its own, as importing some modules has side effects;
needs nothing but the standard library.
"""

import builtins
import importlib
import inspect
import json
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

# Importing these opens a browser or a window, prints, or is not a library.
NOT_LIBRARIES = {"antigravity", "this", "idlelib", "lib2to3", "test", "turtledemo", "pydoc_data"}
NOT_LIBRARIES |= {"ensurepip", "encodings"}
NOT_LIBRARIES |= {"posixpath", "ntpath", "genericpath"}  # os.path is one of them
NOT_SUBMODULES = {"test", "tests", "__main__", "idle_test"}
LONGEST_SIGNATURE = 120
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def print_documents() -> None:
    """Write one JSON line a document, sorted by id."""
    documents: dict[object, tuple[str, Any, str]] = {}
    for name, module in public_modules():
        keep_shortest(documents, name, module, name)
        for member, value in public_members(module):
            public_name = member if name == "builtins" else f"{name}.{member}"
            keep_shortest(documents, public_name, value, name)
            for method, function in public_methods(value):
                keep_shortest(documents, f"{public_name}.{method}", function, name)
    # unittest.main is a module and a class: one name, one document, and the class wins
    by_name = {
        entry[0]: entry
        for entry in sorted(documents.values(), key=lambda e: kind(e[1]) != "module")
    }
    for name, value, module_name in sorted(by_name.values(), key=lambda entry: entry[0]):
        row = {
            "id": name,
            "title": name + signature(value),
            "text": inspect.cleandoc(value.__doc__),
            "metadata": {"kind": kind(value), "module": module_name},
        }
        sys.__stdout__.write(json.dumps(row) + "\n")  # type: ignore[union-attr]


def keep_shortest(
    documents: dict[object, tuple[str, Any, str]], name: str, value: Any, module: str
) -> None:
    """Note a documented object under the shortest of its public names."""
    if not isinstance(getattr(value, "__doc__", None), str) or not value.__doc__.strip():
        return
    key = identity(value)
    old = documents.get(key)
    if old is None or (name.count("."), len(name), name) < (old[0].count("."), len(old[0]), old[0]):
        documents[key] = (name, value, module)


def identity(value: Any) -> object:
    """The same for the same thing: a class method is a new object at every look."""
    owner = getattr(value, "__self__", None)
    if hasattr(value, "__func__"):
        return id(value.__func__)
    return (id(owner), value.__name__) if inspect.isclass(owner) else id(value)


def public_modules() -> Iterator[tuple[str, ModuleType]]:
    """Name and module of everything in the standard library that can be imported."""
    names = sorted(sys.stdlib_module_names - NOT_LIBRARIES)
    pending = [name for name in names if not name.startswith("_")] + ["os.path"]
    while pending:
        name = pending.pop()
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit):  # noqa: S112 - a module for another platform
            continue
        yield name, module
        for sub in pkgutil.iter_modules(getattr(module, "__path__", [])):
            if not sub.name.startswith("_") and sub.name not in NOT_SUBMODULES:
                pending.append(f"{name}.{sub.name}")


def public_members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Classes and functions that a module offers as its own."""
    listed = getattr(module, "__all__", None)
    for name in vars(module) if listed is None else listed:
        if name.startswith("_"):
            continue
        value = getattr(module, name, None)
        offered = listed is not None or module is builtins or is_own(value, module)
        if offered and (inspect.isclass(value) or inspect.isroutine(value)):
            yield name, value


def is_own(value: Any, module: ModuleType) -> bool:
    """Whether a module without ``__all__`` defines a thing, itself or in its private C half."""
    package = str(getattr(value, "__module__", None)).partition(".")[0]
    return package.startswith("_") or package == module.__name__.partition(".")[0]


def public_methods(value: Any) -> Iterator[tuple[str, Any]]:
    """Methods that a class itself defines and documents."""
    if inspect.isclass(value) and not issubclass(value, BaseException):
        for name in vars(value):
            function = getattr(value, name, None)
            if not name.startswith("_") and inspect.isroutine(function):
                yield name, function


def signature(value: Any) -> str:
    """``(s, comments=False)`` for what can be called, where it is known and short."""
    if inspect.ismodule(value):
        return ""
    try:
        text = ADDRESS.sub("", str(inspect.signature(value)))
    except Exception:  # a default that cannot be evaluated, or no signature at all
        return ""
    return text if len(text) <= LONGEST_SIGNATURE else "(...)"


def kind(value: Any) -> str:
    """module, class or function."""
    if inspect.ismodule(value):
        return "module"
    return "class" if inspect.isclass(value) else "function"


if __name__ == "__main__":
    real_stdout, sys.stdout = sys.stdout, sys.stderr  # what a module prints is not a document
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print_documents()
