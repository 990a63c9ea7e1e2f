"""Tests of the project itself: what may import what, what is documented, sizes, and the README."""
