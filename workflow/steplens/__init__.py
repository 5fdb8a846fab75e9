"""steplens: which neurons carry language, at which decoding step, in speech and in text."""

from steplens._version import __version__

__all__ = ["__version__"]
