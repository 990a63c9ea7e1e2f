"""Mutations of the source: small faults, of which each must be found by a simulated schedule or by a test."""
