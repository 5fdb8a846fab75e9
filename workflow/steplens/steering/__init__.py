"""Generation with language-control neurons fixed, and what it does to the output."""
