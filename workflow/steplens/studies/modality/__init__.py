"""Neurons that tell speech from text, and how well each layer tells the language."""
