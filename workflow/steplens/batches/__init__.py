"""How utterances go through a model together: batches, loading ahead, copying and writing meanwhile."""
