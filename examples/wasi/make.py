"""Make the component and compile it for this machine: python3 make.py COMPONENT

It takes half a minute, and makes a file of forty megabytes, which only the very wasmtime that made it takes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from wasmtime import Engine
from wasmtime.component import Component

PLACE = Path(__file__).resolve().parent


def main(output: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        made = f"{directory}/component.wasm"
        maker = Path(sys.executable).parent / "componentize-py"
        folders = [text for folder in (PLACE, *PLACE.parents[:2]) for text in ("-p", folder)]
        what = "-q", "-d", PLACE / "host.wit", "-w", "host", "componentize"
        subprocess.run([maker, *what, *folders, "app", "-o", made], cwd=directory, check=True)
        code = Component.from_file(Engine(), made).serialize()
    unfinished = Path(f"{output}.part")
    unfinished.write_bytes(code)
    unfinished.replace(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
