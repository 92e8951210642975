"""Write a folder of JPEG photographs, one subfolder per class, without downloading anything.

    python photographs.py FOLDER [--per-class 120] [--kind small|large]

The pictures are random crops of ten photographs that ship inside scikit-image and scikit-learn, so
a class is "a piece of this photograph". The same arguments give the same pictures every time.
``large`` ones, about 450 × 375 pixels at JPEG quality 90, resemble those of ImageNet in size; the
benchmarks use them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
import sklearn.datasets
from PIL import Image

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.datasets.__file__).parent / "images"

SOURCES = {
    "astronaut": SKIMAGE / "astronaut.png",
    "cat": SKIMAGE / "chelsea.png",
    "coffee": SKIMAGE / "coffee.png",
    "flower": SKLEARN / "flower.jpg",
    "galaxies": SKIMAGE / "hubble_deep_field.jpg",
    "motorcycle": SKIMAGE / "motorcycle_left.png",
    "pagoda": SKLEARN / "china.jpg",
    "retina": SKIMAGE / "retina.jpg",
    "rocket": SKIMAGE / "rocket.jpg",
    "tissue": SKIMAGE / "ihc.png",
}
CLASSES = tuple(SOURCES)


@dataclass(frozen=True)
class Recipe:
    """How crops are taken.

    Attributes:
        width: range of the crop's width after scaling, in pixels, both ends included.
        height: mean and standard deviation of its height; heights stay within three quarters and
            five quarters of the mean.
        zoom: range of the scale: 1.5 squeezes 1.5 pixels of the photograph into one.
        part: which part of the photograph's width crops come from, as fractions; disjoint parts
            give training and held-out pictures that have no pixel in common.
        grain: largest standard deviation of the noise added, in grey levels. Without it, a crop
            that was scaled up compresses better than a photograph does.
    """

    width: tuple[int, int]
    height: tuple[float, float]
    zoom: tuple[float, float]
    part: tuple[float, float] = (0.0, 1.0)
    grain: float = 8.0


SMALL_TRAIN = Recipe(width=(200, 280), height=(192, 24), zoom=(0.7, 1.4), part=(0.0, 0.6))
SMALL_HELD_OUT = Recipe(width=(200, 280), height=(192, 24), zoom=(0.7, 1.4), part=(0.6, 1.0))
LARGE = Recipe(width=(400, 500), height=(382, 42), zoom=(0.9, 1.5))


def write_photographs(folder: Path, per_class: int, recipe: Recipe, seed: int = 0) -> int:
    """Write ``per_class`` JPEG files for each class to ``folder/class/0000.jpg`` and so on.

    Returns:
        How many files there are now.
    """
    for label, (name, path) in enumerate(SOURCES.items()):
        with Image.open(path) as opened:
            photograph = part_of(opened.convert("RGB"), recipe.part)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            rng = np.random.default_rng([seed, label, i])
            picture = crop(photograph, recipe, rng)
            picture.save(folder / name / f"{i:04d}.jpg", quality=90, subsampling="4:2:0")
    return per_class * len(SOURCES)


def part_of(photograph: Image.Image, part: tuple[float, float]) -> Image.Image:
    """Cut a vertical strip out of a photograph; ``part`` are fractions of its width."""
    left, right = (round(fraction * photograph.width) for fraction in part)
    return photograph.crop((left, 0, right, photograph.height))


def crop(photograph: Image.Image, recipe: Recipe, rng: np.random.Generator) -> Image.Image:
    """One random crop, scaled, mirrored half of the time, with a little grain."""
    mean, deviation = recipe.height
    width = int(rng.integers(recipe.width[0], recipe.width[1] + 1))
    height = round(np.clip(rng.normal(mean, deviation), 0.75 * mean, 1.25 * mean))
    largest = min(photograph.width / width, photograph.height / height)
    zoom = min(rng.uniform(*recipe.zoom), largest)
    wide, high = min(width * zoom, photograph.width), min(height * zoom, photograph.height)
    left = rng.uniform(0, photograph.width - wide)
    top = rng.uniform(0, photograph.height - high)
    right, bottom = min(left + wide, photograph.width), min(top + high, photograph.height)
    box = (left, top, right, bottom)
    picture = photograph.resize((width, height), Image.Resampling.BICUBIC, box=box)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    grain = rng.normal(0, rng.uniform(0, recipe.grain), (height, width, 1))
    pixels = np.clip(np.asarray(picture) + grain, 0, 255)
    return Image.fromarray(pixels.round().astype(np.uint8))


def main() -> None:
    """Write the folder that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-class", type=int, default=120)
    parser.add_argument("--kind", choices=["small", "large"], default="small")
    arguments = parser.parse_args()
    recipe = LARGE if arguments.kind == "large" else SMALL_TRAIN
    count = write_photographs(arguments.folder, arguments.per_class, recipe)
    print(f"{count} photographs in {len(CLASSES)} classes in {arguments.folder}")


if __name__ == "__main__":
    main()
