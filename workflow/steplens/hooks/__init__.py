"""What reads or fixes neurons in a forward pass."""
