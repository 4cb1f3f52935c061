"""Finding the web application in a Python module by reading its syntax tree. Pure; nothing is imported."""

import ast
from typing import Literal, NamedTuple

Interface = Literal["asgi", "wsgi"]

_CLASSES: dict[str, Interface] = {
    "fastapi.FastAPI": "asgi",
    "starlette.applications.Starlette": "asgi",
    "quart.Quart": "asgi",
    "litestar.Litestar": "asgi",
    "blacksheep.Application": "asgi",
    "falcon.asgi.App": "asgi",
    "django.core.asgi.get_asgi_application": "asgi",
    "flask.Flask": "wsgi",
    "bottle.Bottle": "wsgi",
    "falcon.App": "wsgi",
    "django.core.wsgi.get_wsgi_application": "wsgi",
}
_FACTORIES = ("create_app", "make_app", "get_app")
_PREFERRED = ("app", "application", "api", "asgi", "wsgi")


class WebApp(NamedTuple):
    """An application object in a module.

    Attributes:
        name: the module's attribute.
        framework: the class it is made from, or empty for a bare callable.
        factory: ``name`` is a function that returns it.
    """

    name: str
    interface: Interface
    framework: str = ""
    factory: bool = False


class ModuleFacts(NamedTuple):
    """What matters of a module.

    Attributes:
        app: the web application found, or None.
        runs_itself: has an ``if __name__ == "__main__"`` block.
        error: why it cannot be parsed, or empty.
    """

    app: WebApp | None = None
    runs_itself: bool = False
    error: str = ""


def inspect_module(source: str) -> ModuleFacts:
    """Read a module."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return ModuleFacts(error=f"{error.msg if isinstance(error, SyntaxError) else error}{line}")
    imports = _imports(tree)
    found: list[WebApp] = []
    for node in tree.body:
        found.extend(_from_assignment(node, imports))
        found.extend(_from_function(node, imports))
    found.sort(key=_rank)
    runs_itself = any(isinstance(node, ast.If) and _is_main_guard(node.test) for node in tree.body)
    return ModuleFacts(found[0] if found else None, runs_itself)


def _rank(app: WebApp) -> tuple[bool, bool, int]:
    place = _PREFERRED.index(app.name) if app.name in _PREFERRED else len(_PREFERRED)
    return (app.factory, not app.framework, place)


def _imports(tree: ast.Module) -> dict[str, str]:
    """Local name → dotted origin."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _framework(node: ast.expr | None, imports: dict[str, str]) -> str:
    """The known class or function that an expression calls, or empty."""
    if not isinstance(node, ast.Call):
        return ""
    parts = []
    target: ast.expr = node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    if not isinstance(target, ast.Name):
        return ""
    origin = imports.get(target.id, "")
    dotted = ".".join([origin, *reversed(parts)]) if origin else ""
    return dotted if dotted in _CLASSES else ""


def _from_assignment(node: ast.stmt, imports: dict[str, str]) -> list[WebApp]:
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return []
    framework = _framework(value, imports)
    if not framework:
        return []
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return [WebApp(name, _CLASSES[framework], framework) for name in names]


def _from_function(node: ast.stmt, imports: dict[str, str]) -> list[WebApp]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    arguments = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    if isinstance(node, ast.AsyncFunctionDef):
        return [WebApp(node.name, "asgi")] if arguments == ["scope", "receive", "send"] else []
    if arguments == ["environ", "start_response"]:
        return [WebApp(node.name, "wsgi")]
    if node.name in _FACTORIES and len(arguments) <= len(node.args.defaults):
        for child in ast.walk(node):
            framework = _framework(child, imports) if isinstance(child, ast.Call) else ""
            if framework:
                return [WebApp(node.name, _CLASSES[framework], framework, factory=True)]
    return []


def _is_main_guard(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and len(test.comparators) == 1
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )
