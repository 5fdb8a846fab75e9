"""Greedy generation from encoder states, and what was recognised."""
