"""Images of few colors for ffcv: what this plugin provides."""

from ffcv.plugin import Contribution, Kind, hookimpl

__all__ = ["ffcv_fields", "ffcv_operations"]


@hookimpl
def ffcv_fields() -> list[Contribution]:
    """The field."""
    summary = "images of up to 256 colors, one byte a pixel"
    location = "ffcv_palette.images:PaletteImageField"
    return [Contribution("PaletteImageField", Kind.FIELD, location, summary)]


@hookimpl
def ffcv_operations() -> list[Contribution]:
    """The decoder and the transforms."""
    here = "ffcv_palette"
    return [
        Contribution(
            "PaletteImageDecoder",
            Kind.DECODER,
            f"{here}.images:PaletteImageDecoder",
            "images of a PaletteImageField as RGB, (B, H, W, 3) uint8",
        ),
        Contribution(
            "RandomErasing",
            Kind.TRANSFORM,
            f"{here}.transforms:RandomErasing",
            "fill several rectangles at random places",
        ),
        Contribution(
            "RandomSolarize",
            Kind.TRANSFORM,
            f"{here}.transforms:RandomSolarize",
            "invert bright values of images, at random",
        ),
    ]
