"""Scores by which neurons are ranked."""
