"""The data plane, in Rust (``dataplane/py``)."""

__all__ = ["DataplaneFault", "run"]

class DataplaneFault(Exception):
    """The data plane cannot start or go on; the text names cause and remedy."""

def run(config_json: bytes, /) -> None:
    """Run the data plane until SIGTERM or SIGINT, without the GIL.

    Args:
        config_json: the configuration, as ``dataplane/core/src/config.rs`` documents it.

    Raises:
        DataplaneFault: the configuration is wrong, or an address or file cannot be had.
    """
