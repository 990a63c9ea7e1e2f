"""Tests with clients that this project did not write, such as socat, curl, slowhttptest, libnfs, redis-cli and dig."""
