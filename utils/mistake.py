"""Errors that the user can mend: commands show them as one line, and every other exception with its traceback."""


class Mistake(ValueError):
    """A bad value, file or combination of keys; the message says what was expected, what came, and what to change."""


class MissingFile(Mistake, FileNotFoundError):
    """A file or folder that was named is not there."""
