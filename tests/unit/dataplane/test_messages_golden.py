"""The golden files mean the same to Python as to Rust (``dataplane/core/tests/golden.rs``)."""

import json
import pathlib

import msgspec
import pytest

from knarr.dataplane import messages as m

DIRECTORY = pathlib.Path(__file__).parents[3] / "dataplane/core/testdata/protocol"
TYPES = m.ToDataplane | m.FromDataplane | m.DataplaneToNode | m.NodeToDataplane
NAMES = sorted(path.name for path in DIRECTORY.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_is_decoded_and_encoded_alike(name: str) -> None:
    body = (DIRECTORY / name).read_bytes()
    message = msgspec.json.decode(body, type=TYPES)
    assert json.loads(msgspec.json.encode(message)) == json.loads(body)
    assert name.removesuffix(".json").removesuffix(".min") == message.__struct_config__.tag


def test_every_message_type_has_a_full_and_a_minimal_file() -> None:
    tags = [member.__struct_config__.tag for member in TYPES.__args__]
    assert sorted(f"{tag}{kind}.json" for tag in tags for kind in ("", ".min")) == NAMES


@pytest.mark.parametrize("tag", sorted({name.split(".")[0] for name in NAMES}))
def test_full_files_set_every_field(tag: str) -> None:
    message = msgspec.json.decode((DIRECTORY / f"{tag}.json").read_bytes(), type=TYPES)
    fields = {field.encode_name for field in msgspec.structs.fields(message)}
    assert fields <= json.loads(msgspec.json.encode(message)).keys()
