"""Errors that more than one module raises."""


class ConfigError(ValueError):
    """The configuration cannot be run; the message says which key, and what was expected."""


class TableError(ValueError):
    """A table that cannot be read as it was written."""
