"""JPEG (8, 12 and 16 bits, lossless) and JPEG-LS decoders for pydicom, by imagecodecs.

imagecodecs (BSD) carries libjpeg-turbo and CharLS. The interface is that of pydicom's decoder
plugins: `is_available`, `DECODER_DEPENDENCIES` and a function that decodes one frame.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from rarl.scans.codestream import Codestream

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

PLUGIN = "imagecodecs"
_SYNTAXES = (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)
DECODER_DEPENDENCIES = {syntax: ("imagecodecs>=2024.6",) for syntax in _SYNTAXES}


def is_available(syntax: str) -> bool:
    """Whether frames of a transfer syntax can be decoded here."""
    return syntax in _SYNTAXES and find_spec("imagecodecs") is not None


def decoder_plugin(syntax: str) -> str:
    """The name of this plugin where it decodes a transfer syntax, else "" (pydicom's choice)."""
    if not is_available(syntax):
        return ""
    decoder = get_decoder(syntax)
    if PLUGIN not in decoder.available_plugins:
        decoder.add_plugin(PLUGIN, (__name__, "decode_frame"))
    return PLUGIN


def decode_deep(data: bytes, stream: Codestream) -> NDArray[Any]:
    """The samples of a plain JPEG file that Pillow cannot decode: 12 bits, lossless or JPEG-LS.

    Raises:
        ValueError: the codestream is damaged.
    """
    import imagecodecs  # here, since only these files need it

    decode = imagecodecs.jpegls_decode if stream.coding == "jpeg-ls" else imagecodecs.jpeg8_decode
    pixels: NDArray[Any] = decode(data)
    return pixels


def decode_frame(frame: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame to samples, pixel by pixel, without a change of colour space.

    Args:
        frame: the codestream.
        runner: told the width of a sample and the order of the samples.

    Raises:
        ValueError: the codestream is damaged.
    """
    import imagecodecs  # here, since only these syntaxes need it

    if runner.transfer_syntax in (JPEGLSLossless, JPEGLSNearLossless):
        pixels = imagecodecs.jpegls_decode(frame)
    else:
        # The same colour space on both sides: pydicom converts by the DICOM header.
        space = "YCBCR" if runner.samples_per_pixel == 3 else None
        pixels = imagecodecs.jpeg8_decode(frame, colorspace=space, outcolorspace=space)
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return bytes(pixels.tobytes())
