"""Speech of every sentence: engines, takes, checks and quality."""
