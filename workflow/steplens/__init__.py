"""steplens: which neurons carry language, at which decoding step, in speech and in text."""

__version__ = "0.1.0"
