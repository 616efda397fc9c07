"""Tell what a file is by its first bytes, whatever its name says.

FFmpeg cannot be asked: it finds a video in a PDF with a photograph, and takes one tile of a HEIC
photograph for a film.
"""

from __future__ import annotations

import os
import re
import struct
import warnings
from dataclasses import dataclass
from typing import BinaryIO, Literal

from PIL.TiffImagePlugin import ImageFileDirectory_v2

HEAD = 4096
"""Bytes at the start of a file that are looked at."""

MOTION_JPEG_HEAD = 16 * 1024**2
"""Bytes in which the third image of a motion JPEG file is expected."""


SUBFILE, PHOTOMETRIC, SUB_IFDS, DNG_VERSION = 254, 262, 330, 50706
"""TIFF tags: kind of image, colour space, further images, version of DNG."""

SENSOR = (32803, 34892)
"""Values of the TIFF tag `PHOTOMETRIC` in raw photographs."""


@dataclass(frozen=True)
class Kind:
    """What a file is."""

    name: str
    """With article, such as "a PDF document"."""

    reader: Literal["pillow", "ffmpeg"] | None
    """The only library that may open it; None if it is neither an image nor a video."""

    cure: str
    """What to do if it cannot be opened."""

    complete: bool = True
    """Whether the file is as long as its header says, as far as the header says it."""


_CONVERT = "Convert it to PNG or JPEG."
_EXPORT = "Export its pages or pictures as PNG."
_UNPACK = "Unpack it and give the image or video inside."
_DEVELOP = "Develop it to JPEG, TIFF or PNG."
_AGAIN = "Download the image or video itself."
_OTHER = "Give an image or video file."

_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"%PDF-", "a PDF document", _EXPORT),
    (0, b"%!PS", "a PostScript document", _EXPORT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", _EXPORT),
    (0, b"AT&TFORM", "a DjVu document", _EXPORT),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document", _EXPORT),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document", _UNPACK),
    (0, b"PK\x05\x06", "an empty ZIP archive", _OTHER),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"8BPS", "a Photoshop image", _CONVERT),
    (0, b"gimp xcf", "a GIMP image", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL image", _CONVERT),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", _CONVERT),
    (0, b"BPG\xfb", "a BPG image", _CONVERT),
    (0, b"FLIF", "a FLIF image", _CONVERT),
    (0, b"qoif", "a QOI image", _CONVERT),
    (0, b"DDS ", "a DirectDraw texture", _CONVERT),
    (0, b"\xabKTX ", "a KTX texture", _CONVERT),
    (0, b"icns", "an Apple icon", _CONVERT),
    (0, b"\0\0\x02\0", "a Windows cursor", _CONVERT),
    (0, b"\n\x05\x01\x08", "a PCX image", _CONVERT),
    (0, b"\x01\xda", "an SGI image", _CONVERT),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster image", _CONVERT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image", _CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR image", _CONVERT),
    (0, b"#?RGBE", "a Radiance HDR image", _CONVERT),
    (0, b"SIMPLE  =", "a FITS image", _CONVERT),
    (128, b"DICM", "a DICOM image", _CONVERT),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile", _CONVERT),
    (40, b" EMF", "a Windows metafile", _CONVERT),
    (8, b"CR\x02", "a raw photograph (Canon CR2)", _DEVELOP),
    (0, b"II\x1a\0\0\0HEAPCCDR", "a raw photograph (Canon CRW)", _DEVELOP),
    (0, b"IIRO", "a raw photograph (Olympus)", _DEVELOP),
    (0, b"IIRS", "a raw photograph (Olympus)", _DEVELOP),
    (0, b"MMOR", "a raw photograph (Olympus)", _DEVELOP),
    (0, b"IIU\0", "a raw photograph (Panasonic)", _DEVELOP),
    (0, b"FUJIFILMCCD-RAW", "a raw photograph (Fujifilm)", _DEVELOP),
    (0, b"FOVb", "a raw photograph (Sigma)", _DEVELOP),
    (0, b"\0MRM", "a raw photograph (Minolta)", _DEVELOP),
    (0, b"FWS", "a Flash animation", _OTHER),
    (0, b"CWS", "a Flash animation", _OTHER),
    (0, b"MThd", "a MIDI file", _OTHER),
    (0, b"SQLite format 3\0", "an SQLite database", _OTHER),
    (0, b"\x93NUMPY", "a NumPy array", "Load it with numpy.load and give the array."),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _OTHER),
    (0, b"PAR1", "a Parquet file", _OTHER),
    (0, b"ARROW1", "an Arrow file", _OTHER),
    (0, b"\x80\x04\x95", "a Python pickle", _OTHER),
    (0, b"bplist", "a property list", _OTHER),
    (0, b"\x7fELF", "a program", _OTHER),
    (0, b"MZ\x90\0", "a program", _OTHER),
    (0, b"wOF", "a font", _OTHER),
    (0, b"OTTO", "a font", _OTHER),
    (0, b"\0\x01\0\0\0", "a font", _OTHER),
    (0, b"glTF", "a 3D model", _OTHER),
    (0, b"d8:announce", "a torrent", _AGAIN),
)
"""(offset, bytes, what the file is, how to use it) of binary files."""

_TEXT: tuple[tuple[str, str, str], ...] = (
    (r"version https://git-lfs\.github\.com/", "a Git LFS pointer", "Run `git lfs pull` in its repository."),
    (r"[./]*(\.git/)?annex/objects/", "a git-annex pointer", "Run `git annex get` in its repository."),
    (r"<(!doctype\s+svg|(\w+:)?svg)\b", "an SVG drawing", _CONVERT),
    (r"<(!doctype\s+html|html|head|body|title|script|meta)\b", "an HTML page", _AGAIN),
    (r"<MPD\b", "a list of addresses (MPEG-DASH)", _AGAIN),
    (r"<(!--|\?xml|!doctype|[a-z][\w:.-]*[\s/>])", "an HTML or XML document", _AGAIN),
    (r"#EXTM3U|\[playlist\]", "a playlist", _AGAIN),
    (r"\[InternetShortcut\]|\[Desktop Entry\]", "a shortcut", _AGAIN),
    (r"WEBVTT|(\d+\s+)?\d\d:\d\d:\d\d[,.]\d{3} -->", "a subtitle file", _OTHER),
    (r"\{\\rtf", "an RTF document", _EXPORT),
    (r"""[\[{]\s*(["\[{\]}\d-]|true|false|null)""", "a JSON document", _OTHER),
)
"""(pattern at the start, what the file is, how to use it) of text files.

XML declarations and comments before it are skipped.
"""

_NEXT_JPEG = b"\xff\xd9\xff\xd8\xff"
"""The end of a JPEG image that another one follows."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF files; the latter two are BigTIFF."""

_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    *((magic, "a TIFF image") for magic in _TIFF),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
)
"""(first bytes, what the file is) of formats that only Pillow may open."""

_STILL_BRANDS = re.compile(r"avif|avis|hei[cxmsf]|mif1|mif2|miaf|avci|avcs|j2ki|jpeg|vvic|evbi")
"""Brands of ISO files with still images, and of AVIF animations (`avis`), which Pillow reads."""


def identify(file: BinaryIO) -> Kind | None:
    """Return what a file is, or None if its first bytes do not tell.

    Args:
        file: the file, open for reading; its position changes.
    """
    file.seek(0)
    head = file.read(HEAD)
    if head[4:8] == b"ftyp":
        return _iso(file, head)
    if named := _targa(head) or _magic(head) or _text(head):
        name, cure = named
        return Kind(name, None, cure)
    if head.startswith(b"\xff\xd8\xff") and _is_motion_jpeg(file):
        return Kind("a motion JPEG video", "ffmpeg", "Convert it to H.264.")
    if head[:4] in _TIFF and _is_raw_tiff(file):
        return Kind("a raw photograph", None, _DEVELOP)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind("a WebP image", "pillow", _CONVERT)
    return next((Kind(name, "pillow", _CONVERT) for magic, name in _PICTURES if head.startswith(magic)), None)


def _iso(file: BinaryIO, head: bytes) -> Kind | None:
    """Tell still images from videos: both are ISO files, with items or with tracks."""
    brand = head[8:12].decode("latin-1").strip()
    if brand == "crx":
        return Kind("a raw photograph (Canon CR3)", None, _DEVELOP)
    boxes, complete = _boxes(file)
    if ("moov" not in boxes and (_STILL_BRANDS.fullmatch(brand) or "meta" in boxes)) or (
        _STILL_BRANDS.fullmatch(brand) and "meta" in boxes
    ):
        return Kind(f"a HEIF or AVIF image (brand {brand!r})", "pillow", _CONVERT, complete)
    return Kind("a video", "ffmpeg", "Convert it to H.264.") if "moov" in boxes else None


def _boxes(file: BinaryIO) -> tuple[set[str], bool]:
    """Return the types of the top-level boxes of an ISO file, and whether all are complete."""
    boxes, position, kind, end = set(), 0, b"", file.seek(0, os.SEEK_END)
    for _ in range(1000):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            break
        size, kind = struct.unpack(">I4s", header[:8])
        if size == 1 and len(header) == 16:
            size = struct.unpack(">Q", header[8:])[0]
        boxes.add(kind.decode("latin-1"))
        if size < 8:  # 0: the box extends to the end of the file
            break
        position += size
    return boxes, position <= end or kind not in (b"ftyp", b"meta", b"mdat", b"moov", b"moof")  # else trailing data


def _targa(head: bytes) -> tuple[str, str] | None:
    """Recognize Targa by its whole header; the format has no magic number."""
    if len(head) < 18:
        return None
    _, mapped, kind, first, length, entry, _, _, width, height, depth, flags = struct.unpack_from("<BBBHHBHHHHBB", head)
    colours = mapped == 1 and kind in (1, 9) and 0 < length <= 256 and entry in (15, 16, 24, 32)
    plain = mapped == 0 and kind in (2, 3, 10, 11) and first == length == entry == 0
    if (colours or plain) and width and height and depth in (8, 15, 16, 24, 32) and not flags & 0xC0:
        return "a Targa (TGA) image", _CONVERT
    return None


def _is_raw_tiff(file: BinaryIO) -> bool:
    """Return whether a TIFF file is a raw photograph (DNG, NEF, ARW ...).

    Its first image is a thumbnail or a preview; the photograph is in a sub-IFD.
    """
    file.seek(0)
    header = file.read(8)
    try:
        tags = ImageFileDirectory_v2(header + file.read(8) if 43 in header[2:4] else header)
        file.seek(tags.next)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags.load(file)
        preview = bool(tags.get(SUBFILE, 0) & 1) and SUB_IFDS in tags
        return preview or DNG_VERSION in tags or tags.get(PHOTOMETRIC) in SENSOR
    except Exception:  # damaged; Pillow says so when it opens the file
        return False


def _magic(head: bytes) -> tuple[str, str] | None:
    for offset, magic, name, cure in _MAGIC:
        if head.startswith(magic, offset):
            return name, cure
    if b"%PDF-" in head[:1024]:  # PDF readers accept other bytes before it
        return "a PDF document", _EXPORT
    return None


def _text(head: bytes) -> tuple[str, str] | None:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = head.decode(encoding, "replace").lstrip()
    if not text or re.search(r"[\0-\x08\x0e-\x1a\x1c-\x1f]", text) or text.count("\ufffd") > len(text) / 10:
        return None
    if re.match(r"P[1-6f]\s+(#.*\s+)*[-\d]|P7\s|YUV4MPEG2 ", text):  # an image and a video with a header of text
        return None
    while prolog := re.match(r"(<\?.*?\?>|<!--.*?-->)\s*", text, re.DOTALL):
        text = text[prolog.end() :]
    for pattern, name, cure in _TEXT:
        if re.match(pattern, text, re.IGNORECASE):
            return name, cure
    return "a text file", _OTHER


def _is_motion_jpeg(file: BinaryIO) -> bool:
    """Return whether JPEG images of one size follow directly on one another, without an index.

    Photographs with an index of further images (MPF) are still images.
    """
    file.seek(0)
    data = file.read(MOTION_JPEG_HEAD)
    second = data.find(_NEXT_JPEG)
    third = data.find(_NEXT_JPEG, second + 2)
    if second < 0 or third < 0 or b"MPF\0" in data[:second]:
        return False
    return len({_jpeg_size(data, 0), _jpeg_size(data, second + 2), _jpeg_size(data, third + 2)}) == 1


def _jpeg_size(data: bytes, position: int) -> bytes | None:
    """Return height and width, as stored, of the JPEG image that starts at `position`."""
    position += 2
    while data[position : position + 1] == b"\xff" and position + 9 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[position + 5 : position + 9]
        position += 2 + length
    return None
