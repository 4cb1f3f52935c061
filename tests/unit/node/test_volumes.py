import os
from pathlib import Path

import msgspec
import pytest

from knarr.node.bundle import BadContainer
from knarr.node.podfacts import PodFacts
from knarr.node.volumefiles import Owner, make_volume, write_files
from knarr.node.volumes import Files, Scratch, VolumeFile, volume_content
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.secret import Secret
from knarr.resources.core.volume import Volume


class Sources:
    def config_map(self, namespace, name):
        return (
            ConfigMap(data={"a": "1", "b": "2"}, binary_data={"bin": b"\0"})
            if name == "cm"
            else None
        )

    def secret(self, namespace, name):
        return Secret(data={"s": b"x"}) if name == "sec" else None

    def token(self, question):
        return f"{question.account} {question.audience} {question.seconds}"


def content(document: dict):
    volume = msgspec.convert({"name": "v", **document}, Volume)
    facts = PodFacts(namespace="ns", name="pod", spec=PodSpec(), labels={"l": "1"})
    return volume_content(volume, facts, Sources())


def test_fields_of_the_pod_and_tokens_become_files():
    items = [{"path": "deep/name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400}]
    assert content({"downwardAPI": {"items": items, "defaultMode": 0o440}}) == Files(
        {"deep/name": VolumeFile(b"pod", 0o400)}
    )
    token = {"serviceAccountToken": {"path": "t", "audience": "aud", "expirationSeconds": 700}}
    assert content({"projected": {"sources": [token], "defaultMode": 0o444}}) == Files(
        {"t": VolumeFile(b"default aud 700", 0o444)}
    )


def test_sources_become_files_with_their_modes():
    assert content({"configMap": {"name": "cm"}}) == Files(
        {
            "a": VolumeFile(b"1", 0o644),
            "b": VolumeFile(b"2", 0o644),
            "bin": VolumeFile(b"\0", 0o644),
        }
    )
    picked = {"secretName": "sec", "defaultMode": 0o400, "items": [{"key": "s", "path": "d/s"}]}
    assert content({"secret": picked}) == Files({"d/s": VolumeFile(b"x", 0o400)})
    assert content({"secret": {"secretName": "no", "optional": True}}) == Files({})
    sources = [
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "x", "mode": 0o600}]}},
        {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    assert content({"projected": {"sources": sources}}) == Files(
        {"x": VolumeFile(b"1", 0o600), "n": VolumeFile(b'l="1"', 0o644)}
    )
    assert content({"emptyDir": {}}) == Scratch()
    assert content({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}) == Scratch(True, 1 << 20)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        (
            {"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}},
            "non-existent config key: z",
        ),
        ({"configMap": {"name": "cm", "items": [{"key": "a", "path": "../z"}]}}, "not relative"),
        ({"configMap": {"name": "cm", "items": [{"key": "a", "path": "/z"}]}}, "not relative"),
        ({}, "names no source"),
    ],
)
def test_what_cannot_be_mounted_is_named(document, message):
    with pytest.raises(BadContainer, match=message):
        content(document)


OWNER = Owner(os.getuid(), os.getuid())


def read_all(directory: Path) -> dict[str, str]:
    return {
        one.name: one.read_text() for one in directory.iterdir()
        if not one.name.startswith("..") and one.is_file()
    }  # fmt: skip


def test_files_change_all_at_once_and_leave_nothing_behind(tmp_path):
    volume = tmp_path / "v"
    make_volume(
        volume, Files({"a": VolumeFile(b"1", 0o644), "d/x": VolumeFile(b"d", 0o600)}), OWNER
    )
    first = (volume / "..data").readlink()
    assert read_all(volume) == {"a": "1"}
    assert (volume / "d" / "x").read_text() == "d"
    assert (volume / "a").stat().st_mode & 0o777 == 0o644
    same = Files({"a": VolumeFile(b"1", 0o644), "d/x": VolumeFile(b"d", 0o600)})
    assert write_files(volume, same, OWNER) is False
    assert write_files(
        volume, Files({"a": VolumeFile(b"2", 0o644), "b": VolumeFile(b"3", 0o644)}), OWNER
    )
    assert read_all(volume) == {"a": "2", "b": "3"}
    assert not (volume / "d").exists()
    assert not (volume / first).exists()
    assert len([one for one in volume.iterdir() if one.name.startswith("..")]) == 2


def test_a_mode_alone_makes_a_new_version(tmp_path):
    make_volume(tmp_path / "v", Files({"a": VolumeFile(b"1", 0o644)}), OWNER)
    assert write_files(tmp_path / "v", Files({"a": VolumeFile(b"1", 0o600)}), OWNER)


def test_scratch_is_for_everyone_unless_a_group_is_named(tmp_path):
    make_volume(tmp_path / "v", Scratch(), OWNER)
    assert (tmp_path / "v").stat().st_mode & 0o7777 == 0o777
    make_volume(
        tmp_path / "w",
        Scratch(),
        Owner(os.getuid(), os.getgid() if os.getgid() != os.getuid() else -1),
    )
    assert (tmp_path / "w").stat().st_mode & 0o7777 == 0o2775
