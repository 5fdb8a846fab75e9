"""Errors that more than one module raises."""


class ConfigError(ValueError):
    """The configuration cannot be run; the message says which key, and what was expected."""
