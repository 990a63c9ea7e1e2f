"""Tests on other hosts and kernels: no threads, no fork, seccomp, WASI, Emscripten, strace, network namespaces."""
