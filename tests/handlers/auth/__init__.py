"""Authentication mix-ins over machines, with no network."""
