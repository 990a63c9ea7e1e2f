"""Looks at a reactor from beside it: `watchdog` tells what blocks the loop."""
