"""The configuration of a run: its sections, how files and command line are read, and what is refused."""
