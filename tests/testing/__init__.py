"""Tests of `reactor.testing`: a package for each of its rooms."""
