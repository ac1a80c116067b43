"""The painter's decoder."""

import torch

from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.painter import PainterDecoder


def test_a_new_painter_computes_what_the_decoder_computes() -> None:
    torch.manual_seed(0)
    decoder, painter = Decoder(), PainterDecoder()
    missing, unexpected = painter.load_state_dict(decoder.state_dict(), strict=False)
    assert not unexpected
    assert set(missing) == {"fuse3.weight", "fuse3.bias", "fuse2.weight", "fuse2.bias"}
    z, s3, s2 = torch.rand(1, 512, 3, 4), torch.rand(1, 256, 6, 8), torch.rand(1, 128, 12, 16)
    with torch.no_grad():
        assert torch.equal(painter(z, s3, s2), decoder(z))


def test_patches_change_the_picture_once_the_fusions_use_them() -> None:
    torch.manual_seed(0)
    painter = PainterDecoder()
    torch.nn.init.normal_(painter.fuse2.weight, std=0.1)
    z, s3, s2 = torch.rand(1, 512, 2, 2), torch.rand(1, 256, 4, 4), torch.rand(1, 128, 8, 8)
    image = painter(z, s3, s2)
    assert image.shape == (1, 3, 16, 16)
    assert not torch.equal(image, painter(z, s3, s2 * 2))
    image.sum().backward()  # trains as well
    assert painter.fuse2.weight.grad is not None


def test_computes_in_the_dtype_of_its_weights() -> None:
    painter = PainterDecoder().bfloat16()
    with torch.no_grad():
        image = painter(torch.rand(1, 512, 2, 2), torch.rand(1, 256, 4, 4), torch.rand(1, 128, 8, 8))
    assert image.dtype == torch.float32
