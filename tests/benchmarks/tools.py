"""The programs that a load and the floor need: compiled here, or installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent


def compiled(folder: Path, name: str) -> Path:
    """The program of ``name.c``, made by gcc in the folder."""
    program = folder / name
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCES / f"{name}.c")]
    subprocess.run(command, check=True)
    return program


def installed(tool: str | None) -> str | None:
    """The path of the tool if there is one, and if the host has it."""
    return shutil.which(tool) if tool else None
