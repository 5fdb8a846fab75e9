"""Settings that several stages share. Scripts make them, so nothing heavy is imported here."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Selection:
    """How k neurons are chosen by AP (D6; ``ranking.ties``, ``ranking.scope``).

    Attributes
    ----------
    ties : {"separation", "column", "random"}
        What orders neurons of equal AP: the standardised difference of means of the language against the
        rest, then the column (``separation``); the column alone; or a random order, drawn for every
        language of every condition (``random``).
    scope : {"module", "submodule"}
        Whether the k are the best of the whole module, or k is shared out among the pairs of layer and
        submodule by their width, and the best of each pair are taken.
    seed : int
        Of the random order.
    """

    ties: Literal["separation", "column", "random"] = "separation"
    scope: Literal["module", "submodule"] = "module"
    seed: int = 0


DEFAULT_SELECTION = Selection()
