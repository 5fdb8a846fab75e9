"""Whether stores of the paper's size and a study of many languages can be carried on a machine."""
