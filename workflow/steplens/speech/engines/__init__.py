"""Speech engines (D13); ``engine.py`` says what each gives."""
