import pytest

from knarr.apiserver.structural.expressions import BadExpression, compile_expression
from knarr.apiserver.structural.formats import effective_format, has_format

GOOD = {
    "date-time": ["2026-01-01T10:00:00Z", "2026-01-01t10:00:00.123+02:00"],
    "date": ["2026-02-28"],
    "duration": ["1h30m", "-1.5s", "0", "2 days", "3 weeks", "22 ns", "5hr"],
    "byte": ["aGk=", "aGVsbG8="],
    "ipv4": ["10.0.0.1", "010.0.0.1"],
    "ipv6": ["::1", "2001:db8::1"],
    "cidr": ["10.0.0.1/8", "2001:db8::/32"],
    "uri": ["http://a.b/c?d=e", "/path", "urn:x:y"],
    "email": ["a@b.c", "Name <a@b.c>"],
    "hostname": ["a", "h-ost", "a-b.example.com", "1a.bc", "é.ée"],
    "mac": ["00:11:22:33:44:55", "0011.2233.4455", "00-11-22-33-44-55"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000"],
    "uuid3": ["123e4567-e89b-32d3-a456-426614174000"],
    "uuid4": ["123e4567-e89b-42d3-a456-426614174000"],
    "uuid5": ["123e4567-e89b-52d3-b456-426614174000"],
    "isbn": ["0321751043", "978-0321751041"],
    "isbn10": ["0321751043"],
    "isbn13": ["978-0321751041"],
    "creditcard": ["4111 1111 1111 1111"],
    "ssn": ["123-45-6789"],
    "hexcolor": ["#FFFFFF", "abc"],
    "rgbcolor": ["rgb(0, 10,255)"],
    "password": ["anything"],
    "bsonobjectid": ["507f1f77bcf86cd799439011"],
    "k8s-short-name": ["a-b"],
    "k8s-long-name": ["a-b.c"],
}
BAD = {
    "date-time": [
        "2026-01-01",
        "2026-01-01T10:00:00",
        "2026-13-01T10:00:00Z",
        "2026-01-01T25:00:00Z",
        "x",
    ],
    "date": ["2026-02-30", "20260228", "x"],
    "duration": ["", "abc", "5", "3 lightyears"],
    "byte": ["", "a", "!!!!", "aGk"],
    "ipv4": ["10.0.0", "::1", "300.1.1.1"],
    "ipv6": ["10.0.0.1", "fe80::1%eth0", "x"],
    "cidr": ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/x"],
    "uri": ["", "no scheme", "a b:c", "http://[::1", "relative/path"],
    "email": ["a", "a@", "@b"],
    "hostname": ["", "-a", "my-host", "a_b", ".a", "a" * 64, "10.0.0.1", "a-.com", "a.b"],
    "mac": ["00:11:22", "00:11:22:33:44:zz"],
    "uuid": ["x", "123e4567-e89b-12d3-a456-42661417400"],
    "uuid3": ["123e4567-e89b-42d3-a456-426614174000"],
    "uuid4": ["123e4567-e89b-42d3-c456-426614174000"],
    "isbn": ["123"],
    "isbn10": ["0321751044"],
    "isbn13": ["978-0321751042", "x"],
    "creditcard": ["4111 1111 1111 1112", "1"],
    "ssn": ["123456"],
    "hexcolor": ["#12", "red"],
    "rgbcolor": ["rgb(256,0,0)"],
    "bsonobjectid": ["x"],
    "k8s-short-name": ["A", "-a", "a" * 64, "a.b"],
    "k8s-long-name": ["A.b", "a..b"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in GOOD for text in GOOD[name]])
def test_good(name, text):
    assert has_format(text, name)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in BAD for text in BAD[name]])
def test_bad(name, text):
    assert not has_format(text, name)


def test_formats_that_count():
    assert effective_format("date-time", ("string",)) == "date-time"
    assert effective_format("date-time", ()) == "date-time"
    assert effective_format("int32", ("string",)) == ""
    assert effective_format("int32", ("integer",)) == ""
    assert effective_format("double", ("number",)) == ""
    assert effective_format("ipv4", ("integer", "string")) == "ipv4"
    assert effective_format("ipv4", ("object",)) == ""


@pytest.mark.parametrize(
    ("pattern", "matches", "misses"),
    [
        ("^a$", ["a"], ["a\n", "b"]),
        ("a\\z", ["ba"], ["ab"]),
        ("^[[:alpha:]_]+$", ["ab_"], ["a1"]),
        ("^[a-z[]+$", ["a["], ["A"]),
        ("^[]a]$", ["]", "a"], ["b"]),
        ("^[^]a]$", ["b"], ["]"]),
        ("^\\d+$", ["12"], ["\u0661"]),
        ("^\\w$", ["a"], ["é"]),
        ("^\\p{L}+$", ["aé"], ["1"]),
        ("^\\p{Lu}\\pL*$", ["Ab"], ["ab"]),
        ("^[\\p{Lu}0]$", ["A", "0"], ["a"]),
        ("^\\PN$", ["a"], ["1"]),
        ("^(?:a|b){2}$", ["ab"], ["a"]),
        ("(?i)^ABC$", ["abc"], ["abd"]),
        ("^(?i:A)b$", ["ab"], ["aB"]),
        ("^(?<n>a)(?P<m>b)$", ["ab"], ["a"]),
        ("^\\Qa.b\\E$", ["a.b"], ["axb"]),
        ("^\\Qa.b", ["a.bc"], ["axb"]),
        ("^\\x41\\x{1F600}$", ["A😀"], ["A"]),
        ("^[a&&b~~||]+$", ["a&b~|"], ["c"]),
        ("^[+--]$", ["+", ",", "-"], ["."]),
        ("^[--9]$", ["-", ".", "0"], ["a", ","]),
        ("^[\\d-x]+$", ["1-x"], ["a"]),
        ("^[a-]+$", ["a-"], ["b"]),
        ("^[-a]+$", ["a-"], ["b"]),
        ("^a\\-b/c\\/$", ["a-b/c/"], ["ab"]),
        ("^[\\pL]+$", ["aé"], ["1"]),
        ("^(?U)a+?b$", ["aab"], ["b"]),
        ("^a(?i)b$", ["aB"], ["Ab"]),
        ("^\\\\C$", ["\\C"], ["C"]),
        ("", ["anything"], []),
        ("^$", [""], ["\n"]),
        ("^([a-z0-9]([-a-z0-9]*[a-z0-9])?)(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", ["a.b-c"], ["A"]),
    ],
)
def test_expressions(pattern, matches, misses):
    compiled = compile_expression(pattern)
    assert all(compiled.search(text) for text in matches)
    assert not any(compiled.search(text) for text in misses)


@pytest.mark.parametrize(
    "pattern",
    [
        "(", "a)", "[", "[a", "(?=a)", "(?!a)", "(?<=a)b", "(a)\\1", "a++", "*a", "\\p{Klingon}", "\\C", "\\c",
        "a\\\\\\C", "[[:odd:]]", "\\x{110000}", "\\xg", "a{2,1}", "x" * 10_001,
        "\\p{", "(?", "[z-a]", "[a-\\d]", "[a-", "a{1001}{1000}{1000}{1000}",
    ],
)  # fmt: skip
def test_what_is_no_expression(pattern):
    with pytest.raises(BadExpression):
        compile_expression(pattern)


def test_what_is_wrong_is_said_in_the_words_of_go():
    with pytest.raises(BadExpression, match=r"^error parsing regexp: missing closing \]: `\[a`$"):
        compile_expression("[a")
    with pytest.raises(BadExpression, match=r"invalid or unsupported Perl syntax: `\(\?=`$"):
        compile_expression("(?=a)")
