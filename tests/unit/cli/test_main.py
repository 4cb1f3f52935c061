"""The command line as a person meets it."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from knarr.cli.main import MODULE_OF, build_app, modules_for

RUNNER = CliRunner()
APP = build_app(modules_for([]))


@pytest.mark.parametrize(
    "command", sorted(set(MODULE_OF) - {"image", "service", "revision", "route"})
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = RUNNER.invoke(APP, [command, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert "Example:" in shown.output


@pytest.mark.parametrize("verb", ["load", "pull", "list", "rm"])
def test_every_verb_of_image_has_help_with_an_example(verb: str) -> None:
    shown = RUNNER.invoke(APP, ["image", verb, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert "Example:" in shown.output


def test_only_the_module_of_the_command_is_imported() -> None:
    assert modules_for(["--data-dir", "/x", "status", "-o", "json"]) == ["up"]
    assert modules_for(["get", "ksvc", "up"]) == ["manifests", "up"]
    assert set(modules_for(["--help"])) == set(MODULE_OF.values())


@pytest.mark.parametrize(
    "arguments", [["status"], ["get", "ksvc"], ["apply", "-f", "-"], ["logs", "x"]], ids=" ".join
)
def test_nothing_runs_is_said_with_the_remedy(tmp_path: Path, arguments: list[str]) -> None:
    result = RUNNER.invoke(APP, ["--data-dir", str(tmp_path), *arguments], input="")
    assert result.exit_code == 3
    assert "not running" in result.output
    assert "knarr up" in result.output


def test_env_prints_what_a_shell_evaluates(tmp_path: Path) -> None:
    result = RUNNER.invoke(APP, ["--data-dir", str(tmp_path), "env"])
    assert result.output == f"export KUBECONFIG={tmp_path}/kubeconfig\n"
    as_json = RUNNER.invoke(APP, ["--data-dir", str(tmp_path), "env", "-o", "json"])
    assert json.loads(as_json.output) == {"KUBECONFIG": f"{tmp_path}/kubeconfig"}


def test_images_of_an_empty_store(tmp_path: Path) -> None:
    result = RUNNER.invoke(APP, ["--data-dir", str(tmp_path), "image", "list", "-o", "json"])
    assert (result.exit_code, json.loads(result.output)) == (0, [])
    absent = RUNNER.invoke(
        APP, ["--data-dir", str(tmp_path), "image", "rm", "knarr.local/nothing:1"]
    )
    assert absent.exit_code == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "expected"),
        ("- 1", "mapping"),
        ("apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}", "Nonsense"),
    ],
)
def test_bad_manifests_name_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    from knarr.cli.manifests import kind_of, read_manifests
    from knarr.cli.output import CommandError

    manifest = tmp_path / "bad.yaml"
    manifest.write_text(text)
    with pytest.raises(CommandError, match=said) as caught:
        kind_of(read_manifests(str(manifest))[0], str(manifest))
    assert "bad.yaml" in caught.value.message


def test_crds_are_complete_documents_without_references() -> None:
    shown = RUNNER.invoke(APP, ["crds"])
    assert shown.exit_code == 0, shown.output
    documents = list(yaml.load_all(shown.stdout, Loader=yaml.CSafeLoader))
    names = [document["metadata"]["name"] for document in documents]
    assert "services.serving.knative.dev" in names
    assert "podautoscalers.autoscaling.internal.knative.dev" in names
    assert "&id" not in shown.stdout
    listed = json.loads(RUNNER.invoke(APP, ["crds", "-o", "json"]).stdout)
    assert listed["items"] == documents
