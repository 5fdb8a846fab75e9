"""How many examples the property tests draw: few and always the same ones, unless more are asked for.

``STEPLENS_PROPERTIES=20 pytest tests/unit -k properties`` draws twenty times as many, at random.
"""

import os

from hypothesis import settings

_TIMES = int(os.environ.get("STEPLENS_PROPERTIES", 0))

settings.register_profile("steplens", derandomize=True, deadline=None, database=None)
settings.register_profile("steplens-long", deadline=None)
_PROFILE = settings.get_profile("steplens-long" if _TIMES else "steplens")


def examples(number: int) -> settings:
    """Decorator beside ``@given``: at most so many examples."""
    return settings(_PROFILE, max_examples=number * max(1, _TIMES))
