"""One module per stage: ``measure`` times it beside what it is compared with."""
