"""Deciding what to run and what to install for a source folder. Pure.

The first of these that applies wins: ``[tool.knarr]`` in ``pyproject.toml`` (``command`` or ``app``),
``web:`` in a ``Procfile``, a web framework's application object, a program (``main.py``, a module that runs
itself, a package with ``__main__``, a single ``[project.scripts]`` entry), a bare ASGI or WSGI callable, an
executable file.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from knarr.functions.apps import ModuleFacts, WebApp, inspect_module
from knarr.functions.errors import BuildError
from knarr.functions.folder import Folder

APP_DIRECTORY = "/app"
PYTHON = "python3"
_MODULES = ("main", "app", "server", "application", "asgi", "wsgi", "api", "func")
_SHELL = re.compile(r"[$&|;<>`\"'*?~(){}\\#\n]")
_LISTS = re.compile(r"[&|;\n]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?")
SERVERS = {
    "uvicorn": "uvicorn>=0.30,<1",
    "gunicorn": "gunicorn>=22,<26",
    "hypercorn": "hypercorn>=0.16,<1",
}


@dataclass(frozen=True, slots=True)
class Requirements:
    """What to install.

    Attributes:
        files: requirement files by relative path, with their content, those they include first.
        main: the file to pass to the installer, or empty.
        extra: requirement specifiers besides.
    """

    files: tuple[tuple[str, str], ...] = ()
    main: str = ""
    extra: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.main or self.extra)


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """How to make and run the image.

    Attributes:
        command: the argument vector; ``python3`` first means the image's interpreter.
        python: the image needs an interpreter.
        requirements: dependencies.
        python_path: directories for PYTHONPATH.
        why: what was recognised, for people.
        notes: what was decided that the author may not expect.
    """

    command: tuple[str, ...]
    python: bool
    requirements: Requirements
    why: str
    python_path: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Choice:
    command: tuple[str, ...]
    why: str
    needs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    python: bool = True


def plan_build(folder: Folder, machine: str) -> BuildPlan:
    """Decide.

    Args:
        folder: as read.
        machine: ``uname -m``, which a binary must be for.

    Raises:
        BuildError: nothing to run was found, or a file that decides is wrong.
    """
    project = _project(folder)
    has_python = any(name.endswith(".py") for name in folder.files)
    choice = (
        _from_settings(project)
        or _from_procfile(folder, has_python=has_python or bool(project))
        or (_from_python(folder, project) if has_python else None)
        or _from_executable(folder, machine)
    )
    if choice is None:
        raise BuildError(_nothing_found(folder))
    requirements = _requirements(folder, project, choice)
    added = [need for need in choice.needs if SERVERS[need] in requirements.extra]
    notes = (
        *choice.notes,
        *(f"{need} was added to the dependencies to serve the application" for need in added),
    )
    source_root = any(name.startswith("src/") and name.endswith(".py") for name in folder.files)
    return BuildPlan(
        command=choice.command,
        python=choice.python or bool(requirements),
        requirements=requirements,
        why=choice.why,
        python_path=(f"{APP_DIRECTORY}/src",) if source_root else (),
        notes=notes,
    )


def _project(folder: Folder) -> dict[str, Any]:
    text = folder.texts.get("pyproject.toml")
    if text is None:
        return {}
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"pyproject.toml: {error}") from error


def _from_settings(project: dict[str, Any]) -> _Choice | None:
    settings = project.get("tool", {}).get("knarr", {})
    command, app = settings.get("command"), settings.get("app")
    if isinstance(command, list) and command and all(isinstance(part, str) for part in command):
        return _Choice(tuple(command), "[tool.knarr] command")
    if isinstance(command, str) and command:
        return _Choice(_shell_words(command), "[tool.knarr] command")
    if command is not None:
        raise BuildError("pyproject.toml: [tool.knarr] command must be a text or a list of texts")
    if app is None:
        return None
    if not isinstance(app, str) or not _APP.fullmatch(app):
        raise BuildError("pyproject.toml: [tool.knarr] app must look like 'module:object'")
    interface = settings.get("interface", "asgi")
    if interface not in {"asgi", "wsgi"}:
        raise BuildError("pyproject.toml: [tool.knarr] interface must be 'asgi' or 'wsgi'")
    module, _, name = app.partition(":")
    found = WebApp(name.removesuffix("()"), interface, "configured", factory=name.endswith("()"))
    return _serve(module, found, "[tool.knarr] app")


def _from_procfile(folder: Folder, *, has_python: bool) -> _Choice | None:
    text = folder.texts.get("Procfile")
    if text is None:
        return None
    for line in text.splitlines():
        match = re.fullmatch(r"web:\s*(\S.*)", line.strip())
        if match:
            first = match[1].split()[0]
            needs = (first,) if first in SERVERS else ()
            python = has_python or bool(needs) or first.startswith("python")
            return _Choice(_shell_words(match[1]), "Procfile (web)", needs, python=python)
    raise BuildError("Procfile has no line that begins with 'web:'")


def _shell_words(command: str) -> tuple[str, ...]:
    if not _SHELL.search(command):
        return tuple(shlex.split(command))
    # exec: the program, not a shell, must get SIGTERM.
    return ("/bin/sh", "-c", command if _LISTS.search(command) else f"exec {command}")


def _candidates(folder: Folder) -> Iterator[tuple[str, str]]:
    """(path, dotted module) of the modules that may hold the application, best first."""
    for base in ("", "src/"):
        for module in _MODULES:
            yield f"{base}{module}.py", module
    packages = sorted(
        name.removesuffix("/__init__.py")
        for name in folder.files
        if re.fullmatch(r"(src/)?[^/]+/__init__\.py", name)
    )
    for package in packages:
        dotted = package.removeprefix("src/")
        for module in _MODULES:
            yield f"{package}/{module}.py", f"{dotted}.{module}"
        yield f"{package}/__init__.py", dotted


def _from_python(folder: Folder, project: dict[str, Any]) -> _Choice | None:
    modules: list[tuple[str, str, ModuleFacts]] = []
    for path, dotted in (*_candidates(folder), *_django(folder)):
        text = folder.texts.get(path)
        if text is not None:
            modules.append((path, dotted, inspect_module(text)))
    for path, dotted, facts in modules:
        if facts.app and facts.app.framework:
            return _serve(dotted, facts.app, path)
    program = _program(folder, modules, project)
    if program is not None:
        return program
    for path, dotted, facts in modules:
        if facts.app:
            return _serve(dotted, facts.app, path)
    broken = [f"{path}: {facts.error}" for path, _, facts in modules if facts.error]
    if broken:
        raise BuildError(f"cannot read {'; '.join(broken)}")
    return None


def _django(folder: Folder) -> Iterator[tuple[str, str]]:
    if "manage.py" not in folder.files:
        return
    for path in folder.files:
        if re.fullmatch(r"[^/]+/(asgi|wsgi)\.py", path):
            yield path, path.removesuffix(".py").replace("/", ".")


def _program(
    folder: Folder, modules: list[tuple[str, str, ModuleFacts]], project: dict[str, Any]
) -> _Choice | None:
    for path, _, facts in modules:
        bare = facts.app is not None and not facts.runs_itself
        if path in {"main.py", "src/main.py"} and not bare:
            broken = (f"{path} does not parse: {facts.error}",) if facts.error else ()
            return _Choice((PYTHON, path), f"{path} (program)", notes=broken)
        if facts.runs_itself and path.count("/") <= path.startswith("src/"):
            return _Choice((PYTHON, path), f"{path} (runs itself)")
    mains = [name for name in folder.files if re.fullmatch(r"((src/)?[^/]+/)?__main__\.py", name)]
    if len(mains) == 1:
        package = mains[0].removesuffix("__main__.py").removeprefix("src/").rstrip("/")
        return _Choice((PYTHON, "-m", package) if package else (PYTHON, "."), mains[0])
    scripts = project.get("project", {}).get("scripts", {})
    if isinstance(scripts, dict) and len(scripts) == 1:
        name, target = next(iter(scripts.items()))
        if not isinstance(target, str) or not _APP.fullmatch(target):
            raise BuildError(
                f"pyproject.toml: [project.scripts] {name} must look like 'module:function'"
            )
        module, _, function = target.partition(":")
        code = (
            f"import sys; from {module} import {function.partition('.')[0]}; sys.exit({function}())"
        )
        return _Choice((PYTHON, "-c", code), f"[project.scripts] {name}")
    return None


def _serve(module: str, app: WebApp, where: str) -> _Choice:
    """The command that serves an application on $PORT (gunicorn binds to it by itself)."""
    what = f"{where}: {app.framework or 'plain'} {app.interface.upper()} application {app.name!r}"
    if app.interface == "wsgi":
        target = f"{module}:{app.name}{'()' if app.factory else ''}"
        return _Choice((PYTHON, "-m", "gunicorn", "--threads", "8", target), what, ("gunicorn",))
    factory = ", factory=True" if app.factory else ""
    code = (
        f"import os, uvicorn; uvicorn.run({f'{module}:{app.name}'!r}, host='0.0.0.0', "
        f"port=int(os.environ.get('PORT', '8080')){factory})"
    )
    return _Choice((PYTHON, "-c", code), what, ("uvicorn",))


# --- dependencies -------------------------------------------------------------------------------------


def _requirements(folder: Folder, project: dict[str, Any], choice: _Choice) -> Requirements:
    files: dict[str, str] = {}
    main = ""
    extra: list[str] = []
    if "requirements.txt" in folder.texts:
        main = "requirements.txt"
        _include(folder, main, files, ())
    elif project:
        extra = _project_dependencies(project)
    listed = {name for text in files.values() for name in _names(text.splitlines())} | set(
        _names(extra)
    )
    extra += [SERVERS[need] for need in choice.needs if need not in listed]
    return Requirements(tuple(files.items()), main, tuple(extra))


def _include(folder: Folder, path: str, files: dict[str, str], above: tuple[str, ...]) -> None:
    text = folder.texts.get(path)
    if text is None:
        raise BuildError(
            f"{above[-1] if above else path} includes {path}, which is not in the folder"
        )
    for line in text.splitlines():
        match = re.match(r"\s*(?:-r|-c|--requirement|--constraint)[=\s]\s*(\S+)", line)
        if match and path not in above:
            base = path.rpartition("/")[0]
            name = f"{base}/{match[1]}" if base else match[1]
            _include(folder, name.removeprefix("./"), files, (*above, path))
    files[path] = text


def _project_dependencies(project: dict[str, Any]) -> list[str]:
    table = project.get("project", {})
    if "dependencies" in table.get("dynamic", ()):
        raise BuildError(
            "pyproject.toml: dynamic dependencies cannot be read without running code: list them in "
            "[project] dependencies or in requirements.txt"
        )
    found = table.get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise BuildError("pyproject.toml: [project] dependencies must be a list of texts")
    return list(found)


def _names(lines: list[str]) -> Iterator[str]:
    for line in lines:
        match = _NAME.match(line.strip())
        if match:
            yield re.sub(r"[-_.]+", "-", match[0]).lower()


# --- executables --------------------------------------------------------------------------------------

_ELF_MACHINES = {
    62: "x86_64",
    183: "aarch64",
    40: "armv7l",
    243: "riscv64",
    3: "i686",
    22: "s390x",
    21: "ppc64le",
}


def _from_executable(folder: Folder, machine: str) -> _Choice | None:
    found = [
        name
        for name, entry in folder.files.items()
        if entry.executable and name.count("/") <= 1 and entry.magic.startswith((b"\x7fELF", b"#!"))
    ]
    if not found:
        return None
    preferred = [
        name
        for name in found
        if name.rpartition("/")[2] in {folder.name, "main", "app", "server", "run.sh"}
    ]
    chosen = found if len(found) == 1 else preferred
    if len(chosen) != 1:
        raise BuildError(
            f"several executables could be the program: {', '.join(found[:8])}; name one in a Procfile "
            f"('web: ./{found[0]}')"
        )
    name = chosen[0]
    magic = folder.files[name].magic
    if magic.startswith(b"\x7fELF"):
        wanted = int.from_bytes(magic[18:20], "little" if magic[5] == 1 else "big")
        built_for = _ELF_MACHINES.get(wanted, f"machine {wanted}")
        if built_for != machine:
            raise BuildError(f"{name} is built for {built_for}, this machine is {machine}")
    return _Choice((f"{APP_DIRECTORY}/{name}",), f"{name} (executable)", python=False)


def _nothing_found(folder: Folder) -> str:
    shown = ", ".join(list(folder.files)[:8])
    return (
        f"nothing to run was found in {folder.name} ({shown}): add a main.py, an ASGI or WSGI application in "
        "main.py or app.py, a Procfile with 'web: <command>', or an executable file (chmod +x)"
    )
