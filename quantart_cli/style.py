"""Styles: pictures, encoded by a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture
from quantart_cli.masks import opacity_of
from quantart_cli.methods.inputs import Masks, fit_mask


@dataclass(frozen=True)
class Style:
    """One or several style pictures, encoded by a model and usable for any number of contents.

    Attributes:
        identity: :attr:`Model.identity` of the model that encoded it.
        pictures: the style pictures, at the size at which they are encoded.
        shares: of each picture in the style; they sum to 1.
        encoded: form (see ``FeedForward.style_form``) -> the encoded style. A form is added when it is first needed.
    """

    identity: str
    pictures: tuple[Picture, ...]
    shares: tuple[float, ...]
    encoded: dict[str, Any] = field(repr=False)

    def of_region(self, masks: Masks, number: int) -> Style:
        """The style that a region takes, with its mask as opacity.

        Raises:
            QuantArtError: the mask leaves nothing of the style.
        """
        if len(self.pictures) <= 1 and not masks.style_masks:
            return self
        picture = self.pictures[number if len(self.pictures) > 1 else 0]
        if not masks.style_masks:  # the same for every content, so it is kept
            alone: Style = self.encoded.setdefault(f"region {number}", Style(self.identity, (picture,), (1.0,), {}))
            return alone
        alpha = opacity_of(fit_mask(masks.style_masks[number], picture.size), picture.alpha)
        if not alpha.any():
            raise QuantArtError(f"style mask {number + 1} shows nothing of {picture.name}: white is inside")
        return Style(self.identity, (replace(picture, alpha=alpha),), (1.0,), {})
