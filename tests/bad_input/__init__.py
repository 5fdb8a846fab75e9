"""Bad input, one table a topic; ``tests/workflow/test_bad_input.py`` runs them all through one checker."""
