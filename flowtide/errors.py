"""The error of a command that its user can mend."""


class Failure(Exception):  # noqa: N818
    """Ends the command with its message and status 1, without a traceback."""
