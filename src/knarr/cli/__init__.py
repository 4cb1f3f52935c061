"""The ``knarr`` command: one module per noun."""
