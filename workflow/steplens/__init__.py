"""steplens: which neurons carry language, at which decoding step, in speech and in text.

In a notebook::

    import steplens

    run = steplens.open_run("results/demo")
    run.ranking("asr", step=1).top("deu", k=20)

Names are imported when they are first used (``__init__.pyi`` lists them), so that a job loads only what
it needs.
"""

import lazy_loader

from steplens._version import __version__  # noqa: F401

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
