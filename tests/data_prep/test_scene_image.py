"""What an image file says about how to read it is honoured, or refused by name: one way for all readers."""

import io
import struct
import textwrap
import zlib

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from common.errors import DataError
from data_prep.read_options import ReadOptions
from data_prep.scene_image import open_image

H, W = 24, 37
RNG = np.random.default_rng(11)
RGB = RNG.integers(1, 256, (H, W, 3), np.uint8)
GREY = RNG.integers(0, 4, (H, W), np.uint8)
BANDS = RGB.transpose(2, 0, 1)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Put a chunk behind a PNG's header, or before its pixels where a palette must come first."""
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk(kind, content) + data[at:]


def png(pixels: np.ndarray | Image.Image, **options) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, "PNG", **options)
    return file.getvalue()


def few_bits(levels: np.ndarray, bits: int) -> bytes:
    """Write a PNG of 1, 2 or 4 bits a pixel by hand, without a filter."""
    per = 8 // bits
    parts = np.pad(levels, ((0, 0), (0, -levels.shape[1] % per))).reshape(len(levels), -1, per)
    rows = (parts << (np.arange(per)[::-1] * bits)).sum(axis=-1).astype(np.uint8)
    header = struct.pack(">IIBBBBB", levels.shape[1], len(levels), bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = {b"IHDR": header, b"IDAT": pixels, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks.items())


def deep(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def tiff(path, bands: np.ndarray, **options) -> None:
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", **(profile | {"dtype": bands.dtype} | options)) as file:
        file.write(bands)


def read(path, read_options=None):
    """Return the pixels (H, W, 3) in RGB and where they are valid."""
    with open_image(path, read_options or ReadOptions(("red", "green", "blue"))) as image:
        valid = image.valid(slice(None))
        return image[0 : image.shape[0]], np.ones(image.shape, bool) if valid is None else valid


def refused(path, words, read_options=None):
    with pytest.raises(DataError, match=words) as caught:
        read(path, read_options)
    assert "\n" not in str(caught.value)


def palette(**options) -> bytes:
    image = Image.fromarray(GREY, "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 200, 100, 0, 255, 255, 255])
    return png(image, **options)


KEY = tuple(int(value) for value in RGB[3, 5])
ALPHA = RNG.choice(np.array([0, 90, 255], np.uint8), (H, W))
# Kinds of transparency, each with where the picture has data.
TRANSPARENT = {
    "grey, a level": (png(GREY * 60, transparency=120), GREY != 2),
    "grey of 2 bits, a level": (with_chunk(few_bits(GREY, 2), b"tRNS", b"\0\2"), GREY != 2),
    "grey of 16 bits, a level": (
        with_chunk(deep(GREY.astype(np.uint16) * 9000), b"tRNS", struct.pack(">H", 18000)),
        GREY != 2,
    ),
    "RGB, a colour": (png(RGB, transparency=KEY), (RGB != KEY).any(axis=2)),
    "RGB of 16 bits, a colour": (
        with_chunk(
            deep(RGB[..., ::-1].astype(np.uint16) * 200), b"tRNS", struct.pack(">3H", *(200 * v for v in KEY))
        ),
        (RGB != KEY).any(axis=2),
    ),
    "palette, an entry": (palette(transparency=2), GREY != 2),
    "palette, several entries": (palette(transparency=bytes([255, 0, 1, 0])), (GREY == 0) | (GREY == 2)),
    "grey with alpha": (png(np.dstack([RGB[..., 0], ALPHA])), ALPHA > 0),
    "RGB with alpha": (png(np.dstack([RGB, ALPHA])), ALPHA > 0),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparent_pixels_of_every_kind_of_png_have_no_data(tmp_path, kind):
    data, expected = TRANSPARENT[kind]
    (tmp_path / "a.png").write_bytes(data)
    _, valid = read(tmp_path / "a.png", ReadOptions(stretch=(0, 65535)))
    assert not expected.all()
    np.testing.assert_array_equal(valid, expected)


def test_grey_of_one_band_keeps_its_alpha(tmp_path):
    (tmp_path / "a.png").write_bytes(
        png(np.dstack([RGB[..., 0], np.where(ALPHA > 0, 255, 0).astype(np.uint8)]))
    )
    pixels, valid = read(tmp_path / "a.png", ReadOptions(("pan",), ("pan",)))
    np.testing.assert_array_equal(valid, ALPHA > 0)
    np.testing.assert_array_equal(pixels[..., 0], np.where(ALPHA > 0, RGB[..., 0], 0))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_a_png_reach_from_black_to_white(tmp_path, bits):
    levels = RNG.integers(0, 2**bits, (H, W), np.uint8)
    (tmp_path / "a.png").write_bytes(few_bits(levels, bits))
    pixels, _ = read(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, np.dstack([levels * (255 // (2**bits - 1))] * 3))


def test_16_bits_are_the_same_in_a_png_and_in_a_tiff(tmp_path):
    values = RNG.integers(0, 65536, (H, W, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(deep(values[..., ::-1]))
    tiff(tmp_path / "a.tif", values.transpose(2, 0, 1), photometric="RGB")
    for read_options in (None, ReadOptions(("red", "green", "blue"), stretch=(500, 60000))):
        np.testing.assert_array_equal(
            read(tmp_path / "a.png", read_options)[0], read(tmp_path / "a.tif", read_options)[0]
        )
    low, high = 500, 60000
    expected = (np.clip(values.astype(float), low, high) - low) * 255 / (high - low)
    assert np.abs(read(tmp_path / "a.png", read_options)[0] - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("kind", "offset", "step"),
    [
        ("uint32", 4_000_000_000, 1),
        ("int32", -2_000_000_000, 3),
        ("float64", 1e9, 0.25),
        ("float64", 0, 1e300),
    ],
)
def test_values_that_32_bits_of_a_real_number_do_not_hold_are_stretched_as_they_are(
    tmp_path, kind, offset, step
):
    values = (offset + step * np.arange(H * W).reshape(1, H, W)).astype(kind).repeat(3, axis=0)
    tiff(tmp_path / "a.tif", values, photometric="RGB")
    low, high = np.percentile(np.arange(H * W), (2, 98))
    expected = np.clip((np.arange(H * W) - low) / (high - low), 0, 1).reshape(H, W) * 255
    assert np.abs(read(tmp_path / "a.tif")[0] - expected[..., None]).max() < 1e-2


def test_a_stretch_beyond_32_bits_makes_no_number_that_is_none(tmp_path):
    tiff(tmp_path / "a.tif", BANDS.astype(np.uint16), photometric="RGB")
    pixels = read(tmp_path / "a.tif", ReadOptions(stretch=(-1e300, 1e300)))[0]
    np.testing.assert_allclose(pixels, 127.5)


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = value
    return exif


def turned(path, value: int) -> None:
    image = Image.fromarray(RGB)
    if path.suffix == ".tif":
        image.save(path, tiffinfo={274: value})
    else:
        image.save(path, exif=orientation(value))


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("value", range(2, 9))
def test_a_picture_that_viewers_turn_is_refused(tmp_path, ending, value):
    path = tmp_path / f"a.{ending}"
    turned(path, value)
    refused(path, rf"a\.{ending}: is to be turned or mirrored when shown \(orientation {value}\); turn its")


def hexadecimal(name: str, block: bytes) -> bytes:
    """Return a profile as ImageMagick writes it into a text of a PNG."""
    return f"\n{name}\n{len(block):8}\n".encode() + "\n".join(textwrap.wrap(block.hex(), 72)).encode() + b"\n"


XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF>'
    b"</x:xmpmeta>"
)
KEYWORD = b"XML:com.adobe.xmp\0"
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0%c\0\0\0\0\0\0\0"
PNG_METADATA = {
    "iTXt": lambda n: chunk(b"iTXt", KEYWORD + b"\0\0\0\0" + XMP % n),
    "packed iTXt": lambda n: chunk(b"iTXt", KEYWORD + b"\1\0en\0word\0" + zlib.compress(XMP % n)),
    "XMP as profile": lambda n: chunk(b"tEXt", b"Raw profile type xmp\0" + hexadecimal("xmp", XMP % n)),
    "EXIF as profile": lambda n: chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexadecimal("exif", EXIF % n))
    ),
    "APP1 as profile": lambda n: chunk(
        b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(hexadecimal("generic", XMP_START + XMP % n))
    ),
}


@pytest.mark.parametrize("where", ["APP1", "tag 700", *PNG_METADATA])
def test_a_picture_that_is_turned_by_xmp_or_by_texts_of_a_png_is_refused(tmp_path, where):
    """Pillow reads the same value, but from XMP in a TIFF or in hexadecimal."""
    path = tmp_path / {"APP1": "a.jpg", "tag 700": "a.tif"}.get(where, "a.png")
    for value in (6, 1):
        if where == "tag 700":
            Image.fromarray(RGB).save(path, tiffinfo={700: XMP % value})
        else:
            Image.fromarray(RGB).save(path)
            data = path.read_bytes()
            block = XMP_START + XMP % value
            segment, at = b"\xff\xe1" + struct.pack(">H", 2 + len(block)) + block, 2
            if where != "APP1":
                segment, at = PNG_METADATA[where](value), 33  # behind the header
            path.write_bytes(data[:at] + segment + data[at:])
        if where not in ("tag 700", "XMP as profile", "APP1 as profile"):
            with Image.open(path) as image:
                image.load()
                assert image.getexif()[274] == value
        if value == 1:
            assert read(path)[0].shape == (H, W, 3)
        else:
            refused(path, r"orientation 6" if where == "EXIF as profile" else r"orientation 6 by XMP")


@pytest.mark.parametrize("text", [b"", b"\n", b"\nexif\n 4\nxyz", b"\nexif\n 4\n" + b"00" * 9])
def test_a_text_of_a_png_that_is_not_what_it_says_is_passed_over(tmp_path, text):
    Image.fromarray(RGB).save(path := tmp_path / "a.png")
    data = path.read_bytes()
    for kind, content in ((b"tEXt", text), (b"zTXt", b"\0" + text), (b"iTXt", text)):
        path.write_bytes(with_chunk(data, kind, b"Raw profile type exif\0" + content))
        np.testing.assert_array_equal(read(path)[0], RGB)


@pytest.mark.parametrize(("ending", "value"), [("jpg", 0), ("jpg", 1), ("png", 0), ("png", 1), ("tif", 1)])
def test_an_upright_picture_is_read(tmp_path, ending, value):
    path = tmp_path / f"a.{ending}"
    turned(path, value)
    pixels, _ = read(path)
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tag_274_is_found_in_every_kind_of_tiff(tmp_path, order, big):
    """In libtiff's own files the entry stands in the place of one that says what holds without it."""
    path = tmp_path / "a.tif"
    options = {"ENDIANNESS": "LITTLE" if order == "<" else "BIG", "BIGTIFF": "YES" if big else "NO"}
    tiff(path, BANDS, photometric="RGB", **options)
    assert read(path)[0].shape == (H, W, 3)
    data = path.read_bytes()
    # Planar configuration (284): its entry becomes orientation 3, the file stays one of one value a pixel.
    entry = struct.pack(f"{order}HH" + ("Q" if big else "I") + "H", 284, 3, 1, 1)
    assert data.count(entry) == 1
    path.write_bytes(
        data.replace(entry, struct.pack(f"{order}HH" + ("Q" if big else "I") + "H", 274, 3, 1, 3))
    )
    refused(path, r"orientation 3")


def test_one_of_several_pages_is_not_chosen(tmp_path):
    pages = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    refused(tmp_path / "a.tif", r"a\.tif: has 2 pages; save the one")
    pages[0].save(tmp_path / "a.png", save_all=True, append_images=pages[1:])
    refused(tmp_path / "a.png", r"a\.png: is an animation of 2 frames")


def test_a_second_picture_that_cameras_put_behind_a_jpeg_is_not_read(tmp_path):
    Image.fromarray(RGB).save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.fromarray(255 - RGB)]
    )
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.n_frames == 2
        np.testing.assert_array_equal(read(tmp_path / "a.jpg")[0], np.asarray(image.convert("RGB")))


def test_overviews_and_masks_inside_a_file_are_not_pages(tmp_path):
    large = np.tile(BANDS, (1, 30, 20))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        tiff(tmp_path / "a.tif", large, photometric="RGB")
        with rasterio.open(tmp_path / "a.tif", "r+") as file:
            file.write_mask(large[0] > 100)
            file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    pixels, valid = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(valid, large[0] > 100)
    np.testing.assert_array_equal(pixels[valid], large.transpose(1, 2, 0)[valid])


def test_a_mask_beside_the_file_is_not_passed_over(tmp_path):
    tiff(tmp_path / "a.tif", BANDS, photometric="RGB")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.write_mask(BANDS[0] > 100)
    assert (tmp_path / "a.tif.msk").exists()
    refused(
        tmp_path / "a.tif", r"a\.tif\.msk: says where a\.tif has data; put it inside the file, or remove it"
    )


def test_colours_that_are_not_rgb_are_refused_and_ycbcr_is_read(tmp_path):
    for space, fact in (("CMYK", r"5 \(CMYK\)"), ("LAB", r"8 \(CIELab\)")):
        Image.fromarray(RGB).convert(space).save(tmp_path / f"{space}.tif")
        refused(tmp_path / f"{space}.tif", rf"has the photometric interpretation {fact}; convert it to")
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "has 4 channels of 8 bits; convert it to 8-bit RGB")
    Image.fromarray(RGB[..., 0]).save(tmp_path / "raw.tif", tiffinfo={262: 32803})
    refused(tmp_path / "raw.tif", r"32803 \(the mosaic of a sensor\)")
    smooth = cv2.resize(RGB[:3, :3], (W, H), interpolation=cv2.INTER_LINEAR)
    tiff(tmp_path / "y.tif", smooth.transpose(2, 0, 1), photometric="YCBCR", compress="JPEG", JPEG_QUALITY=95)
    assert np.abs(read(tmp_path / "y.tif")[0].astype(int) - smooth).max() < 20


def test_white_as_0_is_refused(tmp_path):
    tiff(tmp_path / "a.tif", BANDS[:1], photometric="MINISWHITE")
    refused(tmp_path / "a.tif", r"has the photometric interpretation 0 \(white is 0\); convert it to one of")


def test_bands_of_few_bits_would_be_nearly_black_and_are_refused(tmp_path):
    tiff(tmp_path / "a.tif", BANDS >> 4, NBITS=4, photometric="RGB")
    refused(tmp_path / "a.tif", "has bands of 4 bits; export them with 8 bits")


def test_a_palette_is_its_colours_in_both_formats(tmp_path):
    (tmp_path / "a.png").write_bytes(palette())
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=1, height=H, width=W, dtype="uint8"
    ) as file:
        file.write(GREY, 1)
        file.write_colormap(1, {0: (10, 20, 30), 1: (40, 50, 60), 2: (200, 100, 0), 3: (255, 255, 255)})
    colours = np.array([[10, 20, 30], [40, 50, 60], [200, 100, 0], [255, 255, 255]], np.uint8)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read(tmp_path / name)[0], colours[GREY])


def test_gamma_and_profiles_change_no_stored_value(tmp_path):
    (tmp_path / "a.png").write_bytes(with_chunk(png(RGB), b"gAMA", struct.pack(">I", 100000)))
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], RGB)


def scaled(path, scales, offsets):
    tiff(path, BANDS.astype(np.uint16), photometric="RGB")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = scales, offsets


def test_scale_and_offset_are_reported_where_all_bands_have_them_and_refused_where_they_differ(tmp_path):
    path, read_options = tmp_path / "a.tif", ReadOptions(("red", "green", "blue"), stretch=(0, 255))
    scaled(path, (0.5,) * 3, (-3,) * 3)
    with open_image(path, read_options) as image:
        assert np.abs(image[0:H] - RGB).max() < 1e-3
        assert image.notes[0] == "values as stored, without the file's scale 0.5 and offset -3"
    scaled(path, (0.5, 0.5, 0.1), (0, 0, 0))
    refused(
        path, r"has bands of different scale and offset \(0\.1 and 0, 0\.5 and 0\); export its bands in one"
    )
    scaled(path, (-1,) * 3, (0,) * 3)
    refused(path, "-1 and 0")


def test_nodata_in_8_bits_is_a_pixel_of_it_in_all_bands_and_in_more_in_any(tmp_path):
    values = BANDS.copy()
    values[0, 0], values[:, 1] = 0, 0
    tiff(tmp_path / "a.tif", values, nodata=0, photometric="RGB")
    expected = np.ones((H, W), bool)
    expected[1] = False
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[1], expected)
    expected[0] = False
    for kind in (np.uint16, np.int16, np.float32):
        tiff(tmp_path / "a.tif", values.astype(kind), nodata=0, photometric="RGB")
        np.testing.assert_array_equal(read(tmp_path / "a.tif")[1], expected)


def test_a_nodata_value_far_from_the_others_does_not_widen_the_stretch(tmp_path):
    values = RNG.integers(300, 2000, (3, H, W)).astype(np.float32)
    with_holes = values.copy()
    with_holes[1, : H // 2] = -9999
    tiff(tmp_path / "a.tif", with_holes, nodata=-9999, photometric="RGB")
    with open_image(tmp_path / "a.tif", ReadOptions()) as image:
        assert min(image.stretch.low) >= 300


def test_numbers_that_are_none_are_no_data(tmp_path):
    values = BANDS.astype(np.float32)
    values[0, 3, 4], values[1, 5, 6], values[2, 7, 8] = np.nan, np.inf, -np.inf
    tiff(tmp_path / "a.tif", values, photometric="RGB")
    expected = np.isfinite(values).all(axis=0)
    pixels, valid = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(valid, expected)
    assert np.isfinite(pixels).all()


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32])
def test_values_below_zero_keep_their_order(tmp_path, kind):
    values = (np.arange(H * W) % 200 - 100).reshape(1, H, W).astype(kind)
    tiff(tmp_path / "a.tif", values)
    pixels, _ = read(tmp_path / "a.tif", ReadOptions(("pan",), ("pan",), stretch=(-100, 100)))
    expected = (values[0].astype(float) + 100) * 255 / 200
    assert np.abs(pixels[..., 0] - expected).max() < 1e-3


def test_an_alpha_band_is_transparency_unless_it_is_given_as_a_band(tmp_path):
    """GDAL calls the fourth band of 8 bits alpha where nobody says otherwise: it may be near infrared."""
    path, four = tmp_path / "a.tif", ("red", "green", "blue", "nir")
    tiff(path, np.concatenate([BANDS, ALPHA[None]]))
    np.testing.assert_array_equal(read(path)[1], ALPHA > 0)
    refused(path, "has 4 bands .*alpha.*say by --bands", ReadOptions(four, four))
    for bands in (four, four[:3]):
        pixels, valid = read(path, ReadOptions(bands, four, (1, 2, 3, 4)))
        assert valid.all()
        np.testing.assert_array_equal(pixels, np.dstack([RGB, ALPHA])[..., : len(bands)])
    holed = np.concatenate([BANDS, ALPHA[None]])
    holed[:, 4] = 0
    tiff(path, holed, nodata=0)
    np.testing.assert_array_equal(read(path, ReadOptions(four, four, (1, 2, 3, 4)))[1], holed.any(axis=0))


def test_a_mask_inside_a_file_counts_where_the_band_called_alpha_is_a_band(tmp_path):
    path, four = tmp_path / "a.tif", ("red", "green", "blue", "nir")
    inside = RNG.random((H, W)) > 0.3
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        tiff(path, np.concatenate([BANDS, ALPHA[None]]))
        with rasterio.open(path, "r+") as file:
            file.write_mask(inside)
    for read_options in (
        ReadOptions(four, four, (1, 2, 3, 4)),
        ReadOptions(four[:3], four, (1, 2, 3, 4)),
    ):
        pixels, valid = read(path, read_options)
        np.testing.assert_array_equal(valid, inside)
        expected = np.dstack([RGB, ALPHA])[..., : len(read_options.bands)]
        np.testing.assert_array_equal(pixels[inside], expected[inside])
        with open_image(path, read_options) as image:
            np.testing.assert_array_equal(image.source.sample(H * W)[1], inside)


def mostly_zero(side: int = 60) -> np.ndarray:
    values = np.zeros((3, side, side), np.uint16)
    values[:, 5:10, 5:10] = RNG.integers(200, 3000, (3, 5, 5))
    return values


def test_a_deep_image_of_mostly_one_value_needs_nodata_or_a_stretch(tmp_path):
    values, path = mostly_zero(), tmp_path / "a.tif"
    tiff(path, values, photometric="RGB")
    refused(
        path, r"a\.tif: is 0 in nearly all of red: .*; say where it has no data .* or give the data set a st"
    )
    (tmp_path / "a.png").write_bytes(deep(values[::-1].transpose(1, 2, 0)))
    refused(tmp_path / "a.png", r"a\.png: is 0 in nearly all of red")
    pixels, _ = read(path, ReadOptions(("red", "green", "blue"), stretch=(0, 3000)))
    assert np.abs(pixels - values.transpose(1, 2, 0) * (255 / 3000)).max() < 1e-3
    tiff(path, values, photometric="RGB", nodata=0)
    pixels, valid = read(path)
    np.testing.assert_array_equal(valid, values[0] > 0)
    low, high = np.percentile(values[:, 5:10, 5:10].reshape(3, -1), (2, 98), axis=1)
    expected = np.clip((values[:, 5:10, 5:10].transpose(1, 2, 0) - low) / (high - low), 0, 1) * 255
    assert np.abs(pixels[5:10, 5:10] - expected).max() < 1e-2


def test_a_deep_image_of_one_value_alone_is_flat(tmp_path):
    tiff(tmp_path / "a.tif", np.full((3, 1, 1), 700, np.uint16), photometric="RGB")
    assert (read(tmp_path / "a.tif")[0] == 0).all()


def described(path, names, bands=BANDS, **options):
    tiff(path, bands, **options)
    with rasterio.open(path, "r+") as file:
        file.descriptions = names


def test_descriptions_of_bands_that_contradict_their_order_are_refused_unless_bands_are_given(tmp_path):
    """GDAL calls three bands of 8 bits red, green and blue where nobody says otherwise."""
    path = tmp_path / "a.tif"
    described(path, ("Blue", "Green", "Red"))
    refused(path, "describes band 1 as Blue, by its colours blue is band 3; say by --bands which number each")
    described(path, ("Red", "Green", "anything"))
    np.testing.assert_array_equal(read(path)[0], RGB)
    four = ("blue", "green", "red", "nir")
    deep_bands = np.concatenate([BANDS, ALPHA[None]]).astype(np.uint16)
    described(path, ("nir", "red", "green", "blue"), deep_bands, photometric="MINISBLACK")
    refused(path, "describes band 1 as nir, by the data set nir is band 4", ReadOptions(four, four))
    pixels, _ = read(path, ReadOptions(four, four, (4, 3, 2, 1), stretch=(0, 255)))
    assert np.abs(pixels - deep_bands[::-1].transpose(1, 2, 0)).max() < 1e-3


def test_an_image_in_other_units_than_the_stretch_is_refused(tmp_path):
    """Reflectance of 0 to 1 where the data set's stretch is of digital numbers would all become 0."""
    with pytest.raises(DataError, match="nearly all outside the stretch 0 to 3000"):
        tiff(tmp_path / "zero.tif", RNG.uniform(0.01, 0.9, (3, 40, 37)).astype(np.float32))
        read(tmp_path / "zero.tif", ReadOptions(("red", "green", "blue"), stretch=(0, 3000)))
    options = ReadOptions(("red", "green", "blue"), stretch=(100, 3500))
    reflectance = RNG.uniform(0.01, 0.9, (3, 300, 37)).astype(np.float32)
    tiff(tmp_path / "units.tif", reflectance)
    with pytest.raises(DataError, match="nearly all outside the stretch 100 to 3500"):
        read(tmp_path / "units.tif", options)
    tiff(tmp_path / "numbers.tif", (reflectance * 3000).astype(np.uint16))
    assert read(tmp_path / "numbers.tif", options)[0].std() > 30


def test_one_band_outside_the_stretch_is_a_measurement(tmp_path):
    """Near infrared over water is darker than all else of a data set."""
    water = np.stack([np.full((H, W), value, np.uint16) for value in (700, 600, 20)])
    tiff(tmp_path / "water.tif", water)
    pixels, _ = read(tmp_path / "water.tif", ReadOptions(("red", "green", "blue"), stretch=(100, 3500)))
    assert (pixels[..., 2] == 0).all()
    assert np.allclose(pixels[0, 0, 0], 255 * 600 / 3400)


def test_eight_bits_beside_a_stretch_are_said_to_be_taken_as_they_are(tmp_path):
    tiff(tmp_path / "eight.tif", BANDS, photometric="RGB")
    options = ReadOptions(("red", "green", "blue"), stretch=(100, 3500))
    with open_image(tmp_path / "eight.tif", options) as image:
        assert image.notes == ["8 bits, taken as they are: the stretch 100 to 3500 is for deeper images"]
        assert (image[0:H] == RGB).all()


def test_a_file_that_lacks_a_band_is_said_to(tmp_path):
    names = ("blue", "green", "red", "nir")
    tiff(tmp_path / "a.tif", BANDS.astype(np.uint16))
    words = r"a\.tif: has 3 bands .*, the data set 4: blue, green, red, nir; give a file with all of them"
    with pytest.raises(DataError, match=words), open_image(tmp_path / "a.tif", ReadOptions(names, names)):
        pass
