"""Which neurons there are, by the name under which it was always found: see ``steplens.models.neurons``."""

from steplens.models.neurons import MODULES, Site, neuron_table, places, sites, slots

__all__ = ["MODULES", "Site", "neuron_table", "places", "sites", "slots"]
