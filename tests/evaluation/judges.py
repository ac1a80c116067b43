"""Judges without weights of others: quick, and with answers that are known."""

import numpy as np

from quantart_cli.evaluation.inception import FEATURES
from quantart_cli.evaluation.networks import Judges


class Brightness:
    """Stands in for LPIPS: the difference of two pictures' mean brightness."""

    def features(self, image):
        return [image.mean()]

    def distance(self, one, other):
        return (one[0] - other[0]).abs()


def inception(rgb):
    """(2048,) features of a picture: itself, reduced to 26 by 26 pixels of three colours, and noughts."""
    step = len(rgb) // 26
    found = np.zeros(FEATURES, np.float32)
    found[: 26 * 26 * 3] = rgb[: 26 * step : step, : 26 * step : step].flatten() / 255
    return found


def judges(vgg):
    return Judges(Brightness(), Brightness(), inception, vgg, "cpu")
