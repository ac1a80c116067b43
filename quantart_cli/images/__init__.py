"""Pictures in and out: files to sRGB pixels with their alpha and metadata, and back, knowing nothing of networks."""

from quantart_cli.images.encoding import encode_picture
from quantart_cli.images.formats import describe_unreadable, readable_formats, writable_formats
from quantart_cli.images.output import check_output, save_picture
from quantart_cli.images.picture import Metadata, Picture
from quantart_cli.images.reading import read_picture
from quantart_cli.images.sources import DEFAULT_MAX_PIXELS
from quantart_cli.images.transform import fill_transparent, resize, to_size

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "Metadata",
    "Picture",
    "check_output",
    "describe_unreadable",
    "encode_picture",
    "fill_transparent",
    "read_picture",
    "readable_formats",
    "resize",
    "save_picture",
    "to_size",
    "writable_formats",
]
