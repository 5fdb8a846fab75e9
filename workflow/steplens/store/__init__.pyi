from .reading import open_store as open_store
