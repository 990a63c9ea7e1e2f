"""Tests with clients that this project did not write: socat, netcat, curl, telnet, slowhttptest, libnfs."""
