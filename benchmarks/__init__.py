"""How fast each stage is, as ratios: against the field's way of doing it, and against what limits it.

``make bench`` runs all of it; each module measures one stage. Nothing here is a test: a time is never
asserted. The tests hold that the fast ways are right.
"""
