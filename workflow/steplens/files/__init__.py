"""Files of any kind: read with care, written whole or not at all, digested."""
