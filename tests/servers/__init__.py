"""Tests of servers: the contract of `socketserver`, TCP, UDP and Unix sockets, the queue, access and drain."""
