"""Figures of a run: one module a figure, each draws from the tables that lie beside it."""
