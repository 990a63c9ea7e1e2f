"""Tests of the table: its rows, their bounds and deadlines, and what it has of ended rows."""
