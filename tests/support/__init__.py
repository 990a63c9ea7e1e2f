"""What several test modules share. No tests, and no import of a test module."""
