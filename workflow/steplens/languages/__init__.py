"""Languages: their table, scripts, texts, identification and error rates."""
