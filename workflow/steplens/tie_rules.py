"""Every way to break ties of AP: what the target ``tie_sensitivity`` compares."""

from .settings import Selection

SEEDS = (1, 2, 3, 4, 5)  # of the lots


def rules(own: Selection) -> list[Selection]:
    """Every way to break ties, within the run's scope: the run's own, by separation, column and five lots."""
    found = [
        own,
        Selection("separation", own.scope),
        Selection("column", own.scope),
        *(Selection("random", own.scope, seed) for seed in SEEDS),
    ]
    return list(dict.fromkeys(found))
