"""Neighbouring studies over the stores of a run: each a module, a rules file, a section of the report."""
