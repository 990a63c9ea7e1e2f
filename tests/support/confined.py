"""Run a program that may neither fork nor start a thread.

``python3 -m tests.support.confined kill|eperm PROGRAM [ARGUMENT ...]``

A seccomp filter (seccomp(2)) enforces it: with ``kill`` the kernel ends the process by SIGSYS at the first clone,
clone3, fork or vfork; with ``eperm`` the call fails. Linux on x86-64 and on 64-bit ARM.
"""

import ctypes
import errno
import platform
import runpy
import struct
import sys

FORKING = {"x86_64": (0xC000003E, (56, 57, 58, 435)), "aarch64": (0xC00000B7, (220, 435))}
"""For each machine its AUDIT_ARCH, and the numbers of clone, (fork, vfork) and clone3."""

KILL, FAIL, ALLOW = 0x80000000, 0x00050000 | errno.EPERM, 0x7FFF0000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if it is this, return
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2


def confine(answer):
    """Filter this process from now on: a fork or a thread gets ``answer``, `KILL` or `FAIL`."""
    arch, numbers = FORKING[platform.machine()]
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, arch), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    steps += [(EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, answer)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, program, 0, 0):
        if libc.prctl(*(value if isinstance(value, bytes) else ctypes.c_ulong(value) for value in call)):
            number = ctypes.get_errno()
            raise OSError(number, f"prctl: {errno.errorcode.get(number, number)}")


if __name__ == "__main__":
    _, how, *sys.argv = sys.argv
    confine({"kill": KILL, "eperm": FAIL}[how])
    runpy.run_path(sys.argv[0], run_name="__main__")
