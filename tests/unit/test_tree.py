"""Rules about the tree that import-linter cannot see."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "knarr"
PYTHON = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 600


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_native_module_is_imported_only_from_dataplane(path: Path) -> None:
    imports = re.findall(r"^\s*(?:from|import)\s+\S*_native", path.read_text(), re.MULTILINE)
    assert not imports or path.parent == SOURCE / "dataplane"


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_stay_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    assert not text.strip() or text.startswith(('"""', 'r"""'))
