"""Source to image, without Docker.

``plan`` looks at a folder and decides, purely, what to run and what to install; ``build`` does it. Images go
into the node's image store (``knarr.node.images``).
"""
