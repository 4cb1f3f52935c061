import pytest

from knarr.functions.errors import BuildError
from knarr.functions.folder import Folder, SourceFile
from knarr.functions.plan import plan_build

ELF = b"\x7fELF\x02\x01\x01" + bytes(11) + (62).to_bytes(2, "little")
UVICORN = "import os, uvicorn; uvicorn.run('{}', host='0.0.0.0', port=int(os.environ.get('PORT', '8080')){})"


def folder(texts=None, **executables):
    texts = texts or {}
    files = {name: SourceFile("file", len(text)) for name, text in texts.items()}
    files |= {
        name.replace("__", "/"): SourceFile("file", 1, executable=True, magic=magic)
        for name, magic in executables.items()
    }
    return Folder("thing", dict(sorted(files.items())), texts)


def command(texts=None, **executables):
    return plan_build(folder(texts, **executables), "x86_64").command


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"main.py": "print(1)"}, ("python3", "main.py")),
        (
            {"main.py": "from fastapi import FastAPI\napp = FastAPI()"},
            ("python3", "-c", UVICORN.format("main:app", "")),
        ),
        (
            {"app.py": "import fastapi as f\napi: f.FastAPI = f.FastAPI(title='x')"},
            ("python3", "-c", UVICORN.format("app:api", "")),
        ),
        (
            {"src/main.py": "from starlette.applications import Starlette\napp = Starlette()"},
            ("python3", "-c", UVICORN.format("main:app", "")),
        ),
        (
            {
                "app.py": "from flask import Flask\napp = Flask(__name__)\nif __name__ == '__main__': app.run()"
            },
            ("python3", "-m", "gunicorn", "--threads", "8", "app:app"),
        ),
        (
            {"shop/__init__.py": "import flask\ndef create_app(x=1):\n    return flask.Flask('x')"},
            ("python3", "-m", "gunicorn", "--threads", "8", "shop:create_app()"),
        ),
        (
            {"main.py": "async def app(scope, receive, send): ..."},
            ("python3", "-c", UVICORN.format("main:app", "")),
        ),
        (
            {"main.py": "def application(environ, start_response): ..."},
            ("python3", "-m", "gunicorn", "--threads", "8", "main:application"),
        ),
        (
            {
                "main.py": "def app(environ, start_response): ...\nif __name__ == '__main__': serve()"
            },
            ("python3", "main.py"),
        ),
        (
            {
                "manage.py": "",
                "site1/__init__.py": "",
                "site1/wsgi.py": "from django.core.wsgi import get_wsgi_application\n"
                "application = get_wsgi_application()",
            },
            ("python3", "-m", "gunicorn", "--threads", "8", "site1.wsgi:application"),
        ),
        ({"server.py": "if __name__ == '__main__': go()"}, ("python3", "server.py")),
        ({"tool/__init__.py": "", "tool/__main__.py": ""}, ("python3", "-m", "tool")),
        (
            {"Procfile": "worker: x\nweb: python3 -m http.server 80"},
            ("python3", "-m", "http.server", "80"),
        ),
        (
            {"Procfile": "web: gunicorn -b :$PORT app:app", "main.py": ""},
            ("/bin/sh", "-c", "exec gunicorn -b :$PORT app:app"),
        ),
        ({"Procfile": "web: a && b $PORT"}, ("/bin/sh", "-c", "a && b $PORT")),
        (
            {"pyproject.toml": "[tool.knarr]\ncommand = ['x', 'y']", "main.py": ""},
            ("x", "y"),
        ),
        (
            {"pyproject.toml": "[tool.knarr]\napp = 'a.b:make()'", "main.py": ""},
            ("python3", "-c", UVICORN.format("a.b:make", ", factory=True")),
        ),
        (
            {"pyproject.toml": "[project.scripts]\nserve = 'a.b:run'", "a/__init__.py": ""},
            ("python3", "-c", "import sys; from a.b import run; sys.exit(run())"),
        ),
    ],
)
def test_what_a_folder_runs(texts, expected):
    assert command(texts) == expected


def test_a_procfile_brings_python_only_when_it_is_needed():
    assert plan_build(folder({"Procfile": "web: python3 -m http.server"}), "x86_64").python
    assert plan_build(folder({"Procfile": "web: gunicorn x:y"}), "x86_64").python
    assert not plan_build(folder({"Procfile": "web: ./run", "run": ""}), "x86_64").python


def test_the_only_executable_is_the_program_and_needs_no_python():
    plan = plan_build(folder({"readme.txt": ""}, hello=ELF), "x86_64")
    assert plan.command == ("/app/hello",)
    assert not plan.python
    assert command(None, run=b"#!/bin/sh") == ("/app/run",)
    assert command(None, thing=ELF, helper=ELF) == ("/app/thing",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (folder({"notes.txt": "x"}), "nothing to run was found in thing (notes.txt)"),
        (folder(None, a=ELF, b=ELF), "several executables could be the program: a, b"),
        (
            folder(None, a=ELF[:18] + (183).to_bytes(2, "little")),
            "built for aarch64, this machine is x86_64",
        ),
        (folder({"Procfile": "worker: x"}), "no line that begins with 'web:'"),
        (folder({"pyproject.toml": "x ="}), "pyproject.toml: "),
        (folder({"pyproject.toml": "[tool.knarr]\napp = 'x'"}), "must look like 'module:object'"),
        (folder({"app.py": "def ("}), "cannot read app.py"),
        (
            folder({"main.py": "", "requirements.txt": "-r gone.txt"}),
            "requirements.txt includes gone.txt",
        ),
        (
            folder({"main.py": "", "pyproject.toml": "[project]\ndynamic = ['dependencies']"}),
            "dynamic dependencies",
        ),
    ],
)
def test_a_folder_that_cannot_be_planned_says_why(given, message):
    with pytest.raises(BuildError) as caught:
        plan_build(given, "x86_64")
    assert message in str(caught.value)


def test_a_server_is_added_only_when_it_is_missing():
    app = "from fastapi import FastAPI\napp = FastAPI()"
    added = plan_build(folder({"main.py": app, "requirements.txt": "fastapi\n"}), "x86_64")
    assert added.requirements.extra == ("uvicorn>=0.30,<1",)
    assert "uvicorn was added to the dependencies" in added.notes[0]
    listed = plan_build(
        folder({"main.py": app, "requirements.txt": "fastapi\nUvicorn[standard]==0.30.1\n"}),
        "x86_64",
    )
    assert listed.requirements.extra == ()
    assert listed.notes == ()


def test_requirements_follow_includes_and_pyproject():
    plan = plan_build(
        folder(
            {
                "main.py": "x",
                "requirements.txt": "-r more/base.txt\nflask",
                "more/base.txt": "-c pins.txt\n",
                "more/pins.txt": "flask==3",
            }
        ),
        "x86_64",
    )
    assert [name for name, _ in plan.requirements.files] == [
        "more/pins.txt",
        "more/base.txt",
        "requirements.txt",
    ]
    plan = plan_build(
        folder({"main.py": "x", "pyproject.toml": "[project]\ndependencies = ['flask>=3']"}),
        "x86_64",
    )
    assert plan.requirements.extra == ("flask>=3",)


def test_no_requirements_mean_no_installation():
    assert not plan_build(folder({"main.py": "x"}), "x86_64").requirements
