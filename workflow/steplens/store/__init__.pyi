from .groups import StoreError as StoreError
from .reading import open_store as open_store
