"""How unequally activations are shared out among neurons."""
