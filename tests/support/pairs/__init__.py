"""Handlers with a fault, most in a pair with a twin without it, by which `check` is measured: each set made unseen."""
