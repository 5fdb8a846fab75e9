"""Models: where a checkpoint lies, what it holds, which neurons it has, and how its parts are loaded."""
