"""How much an image may ask of this machine. One record, passed to whoever enforces a part of it."""

from dataclasses import dataclass

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on input that comes from outside; exceeding one is an error that names the cap.

    Attributes:
        manifest_bytes: of one manifest or index.
        config_bytes: of one image configuration.
        index_depth: indexes inside indexes.
        index_entries: descriptors in one index.
        layers: of one image.
        image_bytes: sum of an image's compressed layers.
        layer_entries: files in one layer.
        layer_bytes: of one layer, unpacked.
        ratio: unpacked to compressed bytes, checked beyond ``ratio_from_bytes``.
        header_bytes: one tar header with its extensions (pax records, long names, sparse maps).
        name_bytes: sum of the names in one layer; they are held in memory.
        name_bytes: int = 128 * MIB
    path_depth: components of one path in a layer.
    """

    manifest_bytes: int = 4 * MIB
    config_bytes: int = 4 * MIB
    index_depth: int = 2
    index_entries: int = 128
    layers: int = 127
    image_bytes: int = 32 * GIB
    layer_entries: int = 500_000
    layer_bytes: int = 32 * GIB
    ratio: int = 200
    ratio_from_bytes: int = 64 * MIB
    header_bytes: int = MIB
    name_bytes: int = 128 * MIB
    path_depth: int = 256
