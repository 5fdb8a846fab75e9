"""A run as a whole: where its results lie, and whether they are what they say."""
