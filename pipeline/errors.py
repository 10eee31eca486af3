"""The one error that users are meant to read."""


class SpectrumError(Exception):
    """Bad input, a missing program or a refused mix: one sentence that names the file or id, what was
    expected and what to do. Stages print it without a traceback and exit with status 1."""
