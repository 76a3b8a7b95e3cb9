"""Makes a folder of real JPEGs for benchmarks, from the two photographs of scikit-learn.

    python -m benchmarks.photographs OUT [COUNT]

Each is a cut of a photograph at a place and of a size of its own, 500 x 375 or 375 x 500, some mirrored; JPEG
quality 90, 4:2:0. The same command makes the same images.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import make_dir

# The average size of ImageNet's images (Russakovsky et al. 2015, section 3: 400 x 350 to 500 x 375).
_WIDE, _TALL = (500, 375), (375, 500)


def make_photographs(out: Path, count: int = 600) -> None:
    """Writes `count` images into class folders of `out`, one class per photograph.

    Raises:
        UserError: The folder exists already, or scikit-learn is not installed.
    """
    if out.exists():
        raise UserError(f"{out} is there already", "give the name of a new folder", exit_code=2)
    make_dir(out.parent)
    # `make` and this function regard an existing folder as finished.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as directory:
        made = Path(directory) / out.name
        generator = np.random.default_rng(0)
        for name, photograph in _photographs().items():
            (made / name).mkdir(parents=True)
            for number in range(count // 2):
                cut = _cut(photograph, generator)
                cut.save(made / name / f"{number:05d}.jpg", quality=90)
        made.rename(out)


def _photographs() -> dict[str, Image.Image]:
    """Opens scikit-learn's two photographs, 640 x 427."""
    try:
        import sklearn.datasets
    except ImportError as error:
        raise UserError("scikit-learn is not installed", "pip install scikit-learn") from error
    directory = Path(sklearn.datasets.__file__).parent / "images"
    return {name: Image.open(directory / f"{name}.jpg").convert("RGB") for name in ("china", "flower")}


def _cut(photograph: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Returns a random cut-out; two of three are wide."""
    size = _TALL if generator.integers(3) == 0 else _WIDE
    scale = generator.uniform(0.6, 1.0) * min(photograph.width / size[0], photograph.height / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    left = int(generator.integers(photograph.width - width + 1))
    top = int(generator.integers(photograph.height - height + 1))
    box = (left, top, left + width, top + height)
    cut = photograph.resize(size, Image.Resampling.BICUBIC, box=box)
    return ImageOps.mirror(cut) if generator.integers(2) else cut


if __name__ == "__main__":
    try:
        make_photographs(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
    except UserError as error:
        sys.exit(f"photographs: {error}")
