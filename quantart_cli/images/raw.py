"""Camera raw files, developed by LibRaw (rawpy, the extra ``raw``): white balance of the camera, sRGB, 8 bits."""

from __future__ import annotations

from typing import IO

import numpy as np

from quantart_cli.errors import QuantArtError
from quantart_cli.images.opening import check_pixels
from quantart_cli.images.picture import Picture
from quantart_cli.images.sources import Origin


def read_raw(stream: IO[bytes], origin: Origin, max_pixels: int) -> Picture:
    """Develop a raw file: upright, in the colours that the camera shows.

    Raises:
        QuantArtError: LibRaw does not know the camera, the file is damaged, or it has more than ``max_pixels``.
    """
    import rawpy

    stream.seek(0)
    try:
        with rawpy.imread(stream) as raw:
            check_pixels((raw.sizes.width, raw.sizes.height), origin, max_pixels)
            rgb = raw.postprocess(use_camera_wb=True, output_color=rawpy.ColorSpace.sRGB, output_bps=8)
    except rawpy.LibRawError as error:
        raise QuantArtError(
            f"{origin.shown} is a camera raw file that LibRaw cannot develop ({error}): develop it to JPEG or TIFF"
        ) from error
    return Picture(np.ascontiguousarray(rgb), name=origin.name)


def raw_size(stream: IO[bytes], origin: Origin, max_pixels: int) -> tuple[int, int]:
    """(width, height) of a raw file, upright; errors as of :func:`read_raw`."""
    import rawpy

    stream.seek(0)
    try:
        with rawpy.imread(stream) as raw:
            size = raw.sizes.width, raw.sizes.height
            check_pixels(size, origin, max_pixels)
            return size[::-1] if raw.sizes.flip in (5, 6) else size
    except rawpy.LibRawError as error:
        raise QuantArtError(f"{origin.shown} is a camera raw file that LibRaw cannot read ({error})") from error
