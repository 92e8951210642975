"""QOI for ffcv: what this plugin provides."""

from ffcv.plugin import Contribution, hookimpl
from ffcv_plugins.images.hookspecs import ImageKind

__all__ = ["ffcv_image_codecs"]


@hookimpl
def ffcv_image_codecs() -> list[Contribution]:
    """The codec."""
    summary = "QOI, without loss; decodes only the rows down to the last one that is kept"
    return [
        Contribution("qoi", ImageKind.CODEC, "ffcv_qoi.codec:QoiCodec", summary, requires="qoi")
    ]
