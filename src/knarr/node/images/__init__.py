"""Images of the node: references, registries, archives, blobs and unpacked layers.

The package knows nothing of pods or sandboxes. ``store.ImageStore`` is the only entry that the rest of the
node needs; ``records`` holds the types that cross the border.
"""
