"""Reading registries over the distribution API."""
