"""What type checkers read of `reactor.handlers`: a stub for each module of ``handlers``.

``python3 -m tests.house.stubs`` writes them anew, after a module has been added or has gone.
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / "reactor" / "handlers"


def stubs():
    """The text of each stub that there should be, by its path below `PLACE`."""
    found = {}
    for path in sorted((ROOT / "handlers").rglob("*.py")):
        inner = path.relative_to(ROOT).with_suffix("")
        module = ".".join(part for part in inner.parts if part != "__init__")
        text = f"from {module} import *\n"
        if module == "handlers":  # what __all__ leaves out, for annotations
            text += "".join(f"from handlers import {name} as {name}\n" for name in ("State", "Step", "__all__"))
        found[str(path.relative_to(ROOT / "handlers").with_suffix(".pyi"))] = text
    return found


def written():
    """The text of each file that there is in `PLACE`, by its path there."""
    return {str(path.relative_to(PLACE)): path.read_text() for path in sorted(PLACE.rglob("*")) if path.is_file()}


def write():
    """Replace what is in `PLACE`."""
    shutil.rmtree(PLACE, ignore_errors=True)
    for name, text in stubs().items():
        path = PLACE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    write()
