"""What a build can fail with."""

from knarr.meta.errors import KnarrError


class BuildError(KnarrError):
    """The folder cannot be built; the message names the file, the cause and the remedy.

    Attributes:
        message: one or two sentences.
        details: the end of a tool's output, or empty.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(f"{message}\n{details}" if details else message)
        self.message = message
        self.details = details
