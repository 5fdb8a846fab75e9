"""SeamlessM4T, both published families."""
