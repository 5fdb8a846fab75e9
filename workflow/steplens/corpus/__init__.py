"""Sentences and recordings of FLEURS."""
