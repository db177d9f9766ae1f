"""Keeps the picture of the last `make demo` as docs/pictures/demo.png, small enough for the repository.

Owns: size and colours of the copy. Must never: draw; examples/demo/picture.py does.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 1500
COLOURS = 128


def main() -> None:
    """From var/demo/leak.png."""
    drawn = Image.open(ROOT / "var/demo/leak.png").convert("RGB")
    small = drawn.resize((WIDTH, round(drawn.height * WIDTH / drawn.width)), Image.Resampling.LANCZOS)
    kept = small.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    kept.save(ROOT / "docs/pictures/demo.png", optimize=True)


if __name__ == "__main__":
    main()
