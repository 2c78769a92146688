"""The analyzer's montage pages, and a page with the answer in words, as Secondary Capture for any viewer.

Each page gets a banner over the whole width that says that the result is automated and unverified, by whom and of
which revision; it is part of the pixels, because an old viewer shows nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from analyzers.contract import FrameRef
from scp_node.domain.delivery import ObjectKind
from scp_node.errors import EncodingError
from scp_node.objects import codes
from scp_node.objects.modules import BODY_PART, Setting, complete, library_arguments
from scp_node.objects.plain_text import plain
from scp_node.objects.statements import Section

MAXIMUM_SIDE_PIXELS = 4096
_SUMMARY_COLUMNS = 1024
_MARGIN = 24
_SMALLEST_FONT = 14
_NARROWEST_BANNER = 640
_WHITE = (255, 255, 255)
_BLACK = (0, 0, 0)
_WARNING = (255, 214, 64)
_GREY = (170, 190, 210)

Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A picture, RGB of shape (rows, columns, 3), with a name and the frame that it mostly shows."""

    name: str
    rgb: Rgb
    frame: FrameRef | None = None


def read_page(path: Path, frame: FrameRef | None = None) -> Page:
    """Read a picture of the analyzer.

    Raises
    ------
    EncodingError
        If it is no picture, or larger than a viewer should be offered.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if max(picture.size) > MAXIMUM_SIDE_PIXELS:
                raise EncodingError(f"picture {path.name}: {picture.size[0]} x {picture.size[1]} pixels is too large.")
            rgb = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as fault:
        raise EncodingError(f"picture {path.name} cannot be read: {fault}") from fault
    return Page(name=path.stem, rgb=rgb, frame=frame)


def summary_page(sections: Sequence[Section]) -> Page:
    """The sentences of the report on one page, white on black."""
    heading, text = ImageFont.load_default(22), ImageFont.load_default(18)
    lines: list[tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont, tuple[int, int, int]]] = []
    for section in sections:
        lines.append((section.heading.meaning, heading, _GREY))
        for sentence in section.lines:
            lines.extend((wrapped, text, _WHITE) for wrapped in _wrapped(sentence, text))
        lines.append(("", text, _WHITE))
    limit = (MAXIMUM_SIDE_PIXELS - 4 * _MARGIN) // 26
    if len(lines) > limit:
        lines = [*lines[: limit - 1], ("... continued in the text report.", text, _WARNING)]
    page = Image.new("RGB", (_SUMMARY_COLUMNS, max(512, 26 * len(lines) + 2 * _MARGIN)), _BLACK)
    pen = ImageDraw.Draw(page)
    for index, (line, font, colour) in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + 26 * index), line, font=font, fill=colour)
    return Page(name="summary", rgb=np.asarray(page, dtype=np.uint8))


def make_key_images(pages: Iterable[Page], setting: Setting) -> tuple[Dataset, ...]:
    """One single-frame Secondary Capture per page, all in one series."""
    return tuple(_key_image(page, number, setting) for number, page in enumerate(pages, start=1))


def with_banner(page: Page, setting: Setting) -> Rgb:
    """Page below its banner; the banner hides nothing of it."""
    order = setting.order
    warning = plain(f"AUTOMATED, UNVERIFIED - {order.notice}")
    origin = plain(
        f"{setting.provenance.model_name} {setting.provenance.software_version}, revision {order.revision}, "
        f"{setting.moment.strftime('%Y-%m-%d %H:%M %z')}"
    )
    rows, columns = page.rgb.shape[:2]
    width = max(columns, _NARROWEST_BANNER)
    size = int(np.clip(width // 42, _SMALLEST_FONT, 28))
    fitting = [_fitting(words, size, width - 16) for words in (warning, origin)]
    height = sum(font.size for font in fitting) + 16
    canvas = Image.new("RGB", (width, rows + int(height)), _BLACK)
    canvas.paste(Image.fromarray(page.rgb), ((width - columns) // 2, int(height)))
    pen = ImageDraw.Draw(canvas)
    pen.text((8, 4), warning, font=fitting[0], fill=_WARNING)
    pen.text((8, 8 + fitting[0].size), origin, font=fitting[1], fill=_WHITE)
    return np.asarray(canvas, dtype=np.uint8)


def _key_image(page: Page, number: int, setting: Setting) -> Dataset:
    provenance = setting.provenance
    capture = SCImage(
        pixel_array=with_banner(page, setting),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=setting.order.study_instance_uid,
        series_instance_uid=provenance.series_uid(ObjectKind.SECONDARY_CAPTURE),
        series_number=setting.series_number(ObjectKind.SECONDARY_CAPTURE),
        sop_instance_uid=provenance.instance_uid(ObjectKind.SECONDARY_CAPTURE, number),
        instance_number=number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_birth_date="",
        **library_arguments(setting),
    )
    # A page of several views has no one orientation: present and empty says so (Type 2C).
    capture.PatientOrientation = []
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    # Burned-in annotation means words that identify the patient; ours do not.
    capture.BurnedInAnnotation = "NO"
    capture.RecognizableVisualFeatures = "NO"
    capture.DerivationDescription = "Automated analysis, unverified"
    capture.SecondaryCaptureDeviceManufacturer = capture.Manufacturer
    capture.SecondaryCaptureDeviceManufacturerModelName = capture.ManufacturerModelName
    capture.ImageComments = plain(page.name.replace("-", " ").replace("_", " "))
    capture.BodyPartExamined = BODY_PART
    reference = _source(page.frame, setting)
    if reference is not None:
        capture.SourceImageSequence = [reference]
    complete(capture, setting, "key images")
    return capture


def _source(frame: FrameRef | None, setting: Setting) -> Dataset | None:
    image = setting.study.image(frame) if frame else None
    if frame is None or image is None:
        return None
    item = Dataset()
    item.ReferencedSOPClassUID = image.summary.sop_class_uid
    item.ReferencedSOPInstanceUID = image.summary.sop_instance_uid
    numbers = image.frame_numbers(frame)
    if numbers:
        item.ReferencedFrameNumber = numbers[0]
    item.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE_FOR_PROCESSING]
    return item


def _fitting(words: str, size: int, width: int) -> ImageFont.FreeTypeFont:
    """Largest font up to a size in which the words are not wider than allowed."""
    for smaller in range(size, _SMALLEST_FONT - 1, -1):
        font = _font(smaller)
        if font.getlength(words) <= width:
            return font
    return _font(_SMALLEST_FONT)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise EncodingError("pictures cannot be lettered: the imaging library was built without FreeType.")
    return font


def _wrapped(sentence: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Lines of a sentence that fit on the summary page."""
    lines: list[str] = []
    line = ""
    for word in sentence.split():
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > _SUMMARY_COLUMNS - 2 * _MARGIN:
            lines.append(line)
            longer = f"    {word}"
        line = longer
    return [*lines, line]
