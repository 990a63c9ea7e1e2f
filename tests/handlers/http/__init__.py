"""Tests of the room `handlers.http`."""
