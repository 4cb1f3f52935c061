import pytest

from knarr.functions.ignore import is_ignored, parse_rules


@pytest.mark.parametrize(
    ("dialect", "lines", "ignored", "kept"),
    [
        ("git", ["*.log"], ["a.log", "d/a.log"], ["a.logs"]),
        ("git", ["/a.log"], ["a.log"], ["d/a.log"]),
        ("git", ["build/"], ["build/x", "d/build/x"], ["build"]),
        ("git", ["d/*.txt"], ["d/a.txt"], ["e/d/a.txt", "d/e/a.txt"]),
        ("git", ["**/x/y"], ["x/y", "a/b/x/y/z"], ["xx/y"]),
        ("git", ["*.py", "!keep.py"], ["a.py"], ["keep.py", "d/keep.py"]),
        ("git", ["# note", "", "[ab].c"], ["a.c", "b.c"], ["c.c"]),
        ("docker", ["*.log"], ["a.log"], ["d/a.log"]),
        ("docker", ["**/*.log"], ["a.log", "d/a.log"], []),
        ("docker", ["d", "!d/keep"], ["d/a", "d/e/f"], ["d/keep"]),
        ("docker", ["./d/"], ["d/a"], ["e"]),
        ("docker", ["*", "!src"], ["a"], ["src/a"]),
    ],
)
def test_patterns(dialect, lines, ignored, kept):
    rules = parse_rules(lines, dialect)
    assert [path for path in ignored if not is_ignored(path, rules, directory=False)] == []
    assert [path for path in kept if is_ignored(path, rules, directory=False)] == []
