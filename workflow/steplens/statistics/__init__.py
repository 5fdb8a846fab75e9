"""Resampling of sentences and languages."""
