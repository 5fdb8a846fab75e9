"""How rankings and tables name what is pooled."""

ALL = "all"  # in place of a language, layer, submodule or subset of sentences: all of them as one
