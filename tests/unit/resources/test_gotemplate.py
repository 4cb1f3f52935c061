import pytest

from knarr.resources.gotemplate import TemplateError, parse_template

VALUES = {
    "Name": "hello",
    "Namespace": "prod",
    "Labels": {"team": "a"},
    "Annotations": {"sub": "s"},
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{.Name}}.{{.Namespace}}", "hello.prod"),
        ("{{ .Labels.team }}-x", "a-x"),
        ('{{index .Annotations "sub"}}', "s"),
        ('{{index .Annotations "none"}}', ""),
        ('{{if index .Annotations "sub"}}{{.Name}}{{else}}other{{end}}', "hello"),
        ('{{if index .Annotations "none"}}a{{else}}{{if .Name}}b{{end}}{{end}}', "b"),
        ("a {{- .Name -}} b", "ahellob"),
        ("plain", "plain"),
    ],
)
def test_rendering(source: str, text: str) -> None:
    assert parse_template(source).render(VALUES) == text


@pytest.mark.parametrize(
    "source", ["{{.Name", "{{end}}", "{{if .Name}}x", "{{range .Labels}}{{end}}", "{{print 1}}"]
)
def test_what_cannot_be_parsed(source: str) -> None:
    with pytest.raises(TemplateError):
        parse_template(source)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(TemplateError, match="can't evaluate field Foo"):
        parse_template("{{.Foo}}").render(VALUES)
