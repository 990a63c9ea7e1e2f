"""Mutations made by rule that no test can find, each with the reason: it changes nothing that can be observed."""

EQUIVALENT = {}
