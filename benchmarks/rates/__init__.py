"""How fast this machine runs each stage: the rows of ``resources/rates.tsv``."""
