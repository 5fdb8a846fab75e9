"""How alike languages and modalities are represented."""
