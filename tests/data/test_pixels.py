"""Pixels of every kind of image, against values worked out by hand."""

import io
import json
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairloom.config_json import from_dict, to_dict
from pairloom.data import augment
from pairloom.data.pixels import Unreadable, facts, open_image
from pairloom.data.transform import Transform

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(size: tuple[int, int]) -> Image.Image:
    rough = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(rough)


def pixel(data: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    image = open_image(data)
    assert image.mode == "RGB"
    return image.getpixel(at)


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    made = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return made


def deep_rgb() -> bytes:
    """A 16-bit RGB PNG of one pixel (Pillow cannot write one): 65535, 32896, 0."""
    row = b"\0" + struct.pack(">HHH", 65535, 32896, 0)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return png_chunks((b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b""))


def palette_with_clear() -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1])
    return encoded(image, transparency=bytes([255, 128]))


def grey(mode: str, value: float, other: float) -> bytes:
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    return encoded(Image.fromarray(np.array([[value, other]], dtype=kind)), "TIFF")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (encoded(Image.new("1", (1, 1), 1)), WHITE),
        (encoded(Image.new("L", (1, 1), 77)), (77, 77, 77)),
        (encoded(Image.new("LA", (1, 1), (100, 0))), WHITE),
        # 0.5 over white: 255 - 128 / 255 * 255 = 127 for the channels at 0
        (encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 128))), (255, 127, 127)),
        (encoded(Image.new("RGB", (1, 1), GREEN), transparency=GREEN), WHITE),
        (palette_with_clear(), RED),
        # Adobe's JPEGs hold CMYK inverted; no ink is white, full magenta and yellow is red
        (encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG", quality=100), WHITE),
        (encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), RED),
        (grey("I;16", 65535, 0), WHITE),
        (grey("I;16", 25700, 0), (100, 100, 100)),  # 25700 / 257
        (grey("I;16", 200, 0), (1, 1, 1)),  # 16 bits of little are dark, not clipped
        (grey("I", 25700, 0), (100, 100, 100)),
        (grey("I", 100, 0), (100, 100, 100)),
        (grey("I", 1_000_000, 0), WHITE),
        (grey("I", 0, -100), WHITE),
        (grey("F", 1.0, 0.0), WHITE),
        (grey("F", 0.2, 0.0), (51, 51, 51)),
        (grey("F", 51.0, 0.0), (51, 51, 51)),
        (grey("F", 3.0e9, float("nan")), WHITE),
        (deep_rgb(), (255, 128, 0)),
        (encoded(Image.new("YCbCr", (8, 8), (255, 128, 128)), "JPEG", quality=100), WHITE),
    ],
)
def test_every_mode_comes_out_as_upright_rgb(data: bytes, wanted: tuple[int, int, int]) -> None:
    assert pixel(data) == wanted


def test_half_clear_palette() -> None:
    assert pixel(palette_with_clear(), (1, 0)) == (127, 127, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(orientation: int) -> None:
    """The upright picture is red left of green, blue below; it is stored as each of the eight cameras would."""
    upright = np.array([[RED, GREEN, GREEN], [BLUE, BLUE, BLUE]], dtype=np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # is turned clockwise to view, so it lies counter-clockwise
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif.tobytes())
    assert np.array_equal(np.asarray(open_image(data)), upright)
    found = facts(data)
    assert (found.width, found.height, found.orientation) == (3, 2, orientation)


def test_facts() -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in (RED, GREEN)]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert facts(moving).animated and facts(moving).format == "GIF" and pixel(moving) == RED
    assert facts(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])).animated
    still = facts(encoded(frames[0]))
    assert (still.animated, still.alpha, still.cmyk, still.deep) == (False, False, False, False)
    assert facts(palette_with_clear()).alpha and facts(encoded(Image.new("RGBA", (1, 1)))).alpha
    assert facts(encoded(Image.new("CMYK", (8, 8)), "JPEG")).cmyk
    assert facts(deep_rgb()).deep and facts(grey("I;16", 1, 2)).deep and facts(grey("F", 1, 2)).deep


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_chunks((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"not an image at all", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (bomb(30_000, 30_000), "900,000,000 pixels"),
        (
            bomb(13_000, 10_000),
            "cut off|broken",
        ),  # Pillow would only warn: within the limit, and then there is no data
        (encoded(Image.new("RGB", (64, 64), RED), "JPEG")[:-30], "cut off"),
        (encoded(noise((64, 64)))[:1500], "cut off"),
    ],
)
def test_what_cannot_be_decoded_has_a_reason(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        open_image(data)


def test_the_limit_is_kept() -> None:
    data = encoded(Image.new("RGB", (20, 10)))
    assert open_image(data, limit=200).size == (20, 10)
    with pytest.raises(Unreadable, match="200 pixels, more than the limit of 199"):
        open_image(data, limit=199)
    with pytest.raises(Unreadable, match="200 pixels"):
        facts(data, limit=199)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "ICO"]), st.data())
def test_mutated_images_are_read_or_unreadable(kind: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(noise((16, 16)), kind))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for look in (facts, open_image):
        try:
            look(bytes(raw), 10_000_000)
        except Unreadable as error:
            assert str(error)


def test_threads_may_decode_side_by_side() -> None:
    """The warning filters, which belong to the whole process, are as before afterwards."""
    data, before, wrong = encoded(Image.new("RGB", (40, 40), BLUE), "TIFF"), list(warnings.filters), []

    def work() -> None:
        for _ in range(30):
            if pixel(data) != BLUE:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and list(warnings.filters) == before


def test_shrinking_while_decoding_leaves_enough() -> None:
    rough = noise((1600, 800))
    data = encoded(rough, "JPEG")
    assert open_image(data, shrink_to=224).size == (800, 400)  # 1/2: at 1/4 the shorter side has 200
    assert open_image(data, shrink_to=200).size == (400, 200)
    assert open_image(data, shrink_to=900).size == (1600, 800)
    assert open_image(encoded(rough.resize((160, 80))), shrink_to=8).size == (160, 80)


class TestTransform:
    IMAGE = noise((50, 37))

    def test_square_squashes_and_crop_cuts_the_middle(self) -> None:
        wide = Image.new("RGB", (30, 10), GREEN)
        wide.paste(RED, (0, 0, 10, 10))
        wide.paste(BLUE, (20, 0, 30, 10))
        squashed = Transform(size=30).to_uint8(wide)
        assert (
            squashed.shape == (30, 30, 3)
            and squashed[5, 4].tolist() == list(RED)
            and squashed[5, 26].tolist() == list(BLUE)
        )
        assert (Transform(size=10, fit="crop").to_uint8(wide)[:, 1:-1] == GREEN).all()

    def test_normalise(self) -> None:
        """BLIP's and CLIP's numbers: black is (0 - mean) / std, white (1 - mean) / std; the channels come first."""
        made = Transform(size=2).normalise(
            np.stack([np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)])
        )
        assert made.shape == (2, 3, 2, 2) and made.dtype == np.float32
        assert made[0, :, 0, 0] == pytest.approx([-1.79226253, -1.75209713, -1.48021977], abs=1e-6)
        assert made[1, :, 1, 1] == pytest.approx([1.93033625, 2.07488384, 2.14589699], abs=1e-6)

    @pytest.mark.slow  # importing transformers takes long
    @pytest.mark.parametrize("size", [(60, 41), (41, 60), (32, 32), (33, 100), (500, 301)])
    @pytest.mark.parametrize("fit", ["square", "crop"])
    def test_evaluation_equals_the_published_processors(self, size: tuple[int, int], fit: str) -> None:
        transformers = pytest.importorskip("transformers")
        image = noise(size)
        ours = Transform(size=32, fit=fit)  # type: ignore[arg-type]
        kind = "BlipImageProcessor" if fit == "square" else "CLIPImageProcessor"
        processor = getattr(transformers, kind + "Pil", None) or getattr(transformers, kind)
        area = {"height": 32, "width": 32}
        options = {"size": area} if fit == "square" else {"size": {"shortest_edge": 32}, "crop_size": area}
        theirs = processor(**options)(image, return_tensors="np")["pixel_values"][0]
        assert np.abs(ours.normalise(ours.to_uint8(image)) - theirs).max() < 1e-5

    def test_a_thin_picture_does_not_fill_the_memory(self) -> None:
        thin = Image.new("RGB", (30_000, 1), RED)
        assert (Transform(size=64, fit="crop").to_uint8(thin) == RED).all()

    def test_training_is_random_by_the_generator_alone(self) -> None:
        train = Transform(size=16, crop_scale=(0.2, 1.0), flip=True, randaugment=True)
        views = [train.to_uint8(self.IMAGE, np.random.default_rng(seed)) for seed in (1, 1, 2)]
        assert np.array_equal(views[0], views[1]) and not np.array_equal(views[0], views[2])
        assert np.array_equal(train.to_uint8(self.IMAGE), Transform(size=16).to_uint8(self.IMAGE))
        plain = Transform(size=16)
        assert np.array_equal(
            plain.to_uint8(self.IMAGE, np.random.default_rng(1)), plain.to_uint8(self.IMAGE)
        )

    def test_flip_is_half_of_the_time_and_off_by_default(self) -> None:
        rng = np.random.default_rng(0)
        plain, flip = Transform(size=8).to_uint8(self.IMAGE), Transform(size=8, flip=True)
        flipped = [np.array_equal(flip.to_uint8(self.IMAGE, rng), plain[:, ::-1]) for _ in range(400)]
        assert 160 < sum(flipped) < 240 and not Transform().flip

    def test_it_lies_in_a_model_folder_as_json(self) -> None:
        made = Transform(size=384, fit="crop", crop_scale=(0.5, 1.0), randaugment=True)
        assert from_dict(Transform, json.loads(json.dumps(to_dict(made)))) == made


class TestAugment:
    def test_crops_have_the_area_and_ratio_asked_for(self, monkeypatch) -> None:
        parts = []
        real = Image.Image.crop
        monkeypatch.setattr(Image.Image, "crop", lambda self, box: (parts.append(box), real(self, box))[1])
        rng = np.random.default_rng(3)
        for _ in range(200):
            made = augment.random_crop(Image.new("RGB", (300, 200)), 8, (0.2, 0.6), rng)
            assert made.size == (8, 8)
        for left, top, right, bottom in parts:
            wide, high = right - left, bottom - top
            assert 0 <= left and right <= 300 and 0 <= top and bottom <= 200
            assert 0.19 < wide * high / 60_000 < 0.61 and 0.73 < wide / high < 1.36
        assert len(set(parts)) > 150

    def test_squares_are_square_and_lie_anywhere(self, monkeypatch) -> None:
        """CLIP's: shares of the largest square, never squashed; of the whole of it only the place along the longer side is
        drawn."""
        parts = []
        real = Image.Image.crop
        monkeypatch.setattr(Image.Image, "crop", lambda self, box: (parts.append(box), real(self, box))[1])
        train = Transform(size=8, fit="crop", crop_scale=(0.5, 1.0))
        rng = np.random.default_rng(3)
        for _ in range(200):
            assert train.to_uint8(Image.new("RGB", (300, 200)), rng).shape == (8, 8, 3)
        for left, top, right, bottom in parts:
            assert right - left == bottom - top and 0 <= left and right <= 300 and 0 <= top and bottom <= 200
            assert 0.49 < (right - left) ** 2 / 40_000 <= 1
        assert len(set(parts)) > 150
        parts.clear()
        for _ in range(20):
            augment.random_square(Image.new("RGB", (300, 200)), 8, (1.0, 1.0), rng)
        assert all((right - left, top) == (200, 0) for left, top, right, _ in parts)
        assert len({left for left, *_ in parts}) > 10

    def test_a_crop_that_never_fits_is_the_middle(self) -> None:
        strip = Image.new("RGB", (400, 10), RED)
        strip.paste(GREEN, (192, 0, 208, 10))
        made = augment.random_crop(strip, 4, (1.0, 1.0), np.random.default_rng(0))
        assert np.asarray(made)[0, 1].tolist() == list(GREEN)

    @pytest.mark.parametrize("name", ["identity", "brightness", "sharpness"])
    def test_at_magnitude_five_these_change_nothing(self, name: str) -> None:
        image = TestTransform.IMAGE
        assert np.array_equal(np.asarray(augment.apply(image, name, 1)), np.asarray(image))

    def test_moves_go_as_far_as_blips(self) -> None:
        dot = Image.new("RGB", (40, 40))
        dot.putpixel((20, 20), WHITE)
        for name, sign, place in (
            ("translate_x", 1, (15, 20)),
            ("translate_x", -1, (25, 20)),
            ("translate_y", 1, (20, 15)),
        ):
            assert augment.apply(dot, name, sign).getpixel(place) == WHITE
        assert augment.apply(dot, "translate_x", 1).getpixel((39, 0)) == augment.GREY
        # a row y is moved by 0.15 y: 3 pixels in row 20
        assert augment.apply(dot, "shear_x", 1).getpixel((17, 20))[0] > 200
        turned = augment.apply(Image.new("RGB", (40, 40), RED), "rotate", 1)
        assert turned.getpixel((0, 0)) == augment.GREY and turned.getpixel((20, 20)) == RED

    def test_contrast_and_equalisation_reach_black_and_white(self) -> None:
        ramp = Image.fromarray(np.linspace(100, 150, 4096).astype(np.uint8).reshape(64, 64)).convert("RGB")
        for name in ("autocontrast", "equalize"):
            made = np.asarray(augment.apply(ramp, name, 1))
            assert made.min() == 0 and made.max() == 255


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation: int, compression: str | None) -> None:
    """Pillow turns a TIFF while it loads it: the same pixels as the same turn of a PNG, and upright sides in its facts."""
    shown = Image.fromarray(
        np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8))
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    tiff = encoded(shown.convert("RGB"), "TIFF", exif=exif, compression=compression)
    png = encoded(shown.convert("RGB"), exif=exif.tobytes())
    wanted = np.asarray(open_image(png), np.int64)
    assert np.abs(np.asarray(open_image(tiff), np.int64) - wanted).max() <= (
        8 if compression == "jpeg" else 0
    )
    known = facts(tiff)
    assert (known.height, known.width, known.orientation) == (*wanted.shape[:2], orientation)


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (np.uint16, 0, 1023),
        (np.uint16, 0, 4095),
        (np.uint16, 300, 700),
        (np.uint16, 33069, 36863),
        (np.float32, 0.0, 0.02),
    ],
)
def test_deep_grey_fills_the_range(kind: type, low: float, high: float) -> None:
    """10 or 12 bits in 16, with or without an offset, look as the same picture in 8 bits does."""
    pixels = np.asarray(
        open_image(encoded(Image.fromarray((low + RAMP * (high - low)).astype(kind)), "TIFF"))
    )
    assert np.abs(pixels[..., 0] - RAMP * 255).max() <= 1


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel from values [H W 2 to 4]; Pillow cannot write one."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_chunks((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def deep_tiff(values: np.ndarray, order: str, is_packed: bool) -> bytes:
    """A TIFF of 16 bits a channel from values [H W 3], in one strip. order: of bytes, < or >."""
    height, width, _ = values.shape
    data = values.astype(order + "u2").tobytes()
    data = zlib.compress(data) if is_packed else data
    tags = [(256, 4, width), (257, 4, height), (258, 3, None), (259, 3, 8 if is_packed else 1), (262, 3, 2), (273, 4, None),
            (277, 3, 3), (278, 4, height), (279, 4, len(data))]  # fmt: skip
    end = 8 + 2 + 12 * len(tags) + 4
    raw = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags))
    for tag, kind, value in tags:
        value = end if tag == 258 else end + 6 if tag == 273 else value
        field = struct.pack(order + "HH", value, 0) if kind == 3 and tag != 258 else struct.pack(order + "I", value)  # fmt: skip
        raw += struct.pack(order + "HHI", tag, kind, 3 if tag == 258 else 1) + field
    return raw + struct.pack(order + "I", 0) + struct.pack(order + "HHH", 16, 16, 16) + data


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    "kind", ["png", "png with alpha", "tiff <", "tiff >", "tiff < packed", "tiff > packed"]
)
def test_deep_colour_fills_the_range(bits: int, kind: str) -> None:
    """10, 12 or 14 bits a colour in 16 look as the same picture in 8 bits does, black and white being in it."""
    eight = np.random.default_rng(bits).integers(0, 256, (12, 10, 3))
    eight[0, 0], eight[0, 1] = 0, 255
    values = np.round(eight * ((1 << bits) - 1) / 255).astype(np.int64)
    if kind.startswith("png"):
        opaque = np.full((12, 10, 1), 65535)
        data = deep_png(np.concatenate([values, opaque], 2) if "alpha" in kind else values)
    else:
        data = deep_tiff(values, kind[5], "packed" in kind)
    assert np.abs(np.asarray(open_image(data)).astype(int) - eight).max() <= 1 and facts(data).deep


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_grey_with_alpha_fills_the_range(bits: int) -> None:
    """What is transparent is white, as of every picture."""
    eight = np.random.default_rng(bits).integers(0, 256, (12, 10))
    eight[0, 0], eight[0, 1] = 0, 255
    alpha = np.full((12, 10), 65535)
    alpha[1] = 0
    data = deep_png(np.stack([np.round(eight * ((1 << bits) - 1) / 255).astype(np.int64), alpha], 2))
    seen = np.asarray(open_image(data)).astype(int)
    assert (seen[1] == 255).all() and facts(data).deep
    assert np.abs(np.delete(seen[..., 0] - eight, 1, 0)).max() <= 1


def test_eight_bits_in_sixteen_stay_and_noise_is_not_stretched() -> None:
    eight = (RAMP * 255).astype(np.uint16)
    assert np.array_equal(np.asarray(open_image(encoded(Image.fromarray(eight), "TIFF")))[..., 0], eight)
    flat = np.full((8, 8), 30_000, np.uint16) + np.arange(8, dtype=np.uint16)
    assert np.ptp(np.asarray(open_image(encoded(Image.fromarray(flat), "TIFF")))) <= 1


def test_a_png_with_long_texts_is_a_picture() -> None:
    """Pillow refuses text above a length, packed or not; the pixels need none of it."""
    whole = encoded(noise((5, 4)))
    header, rest = whole[:33], whole[33:]
    for name, text in (
        (b"tEXt", b"Comment\0" + b"x" * 3_000_000),
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000)),
    ):
        data = header + png_chunks((name, text))[8:] + rest
        assert np.array_equal(np.asarray(open_image(data)), np.asarray(noise((5, 4))))
        assert facts(data).width == 5
    with pytest.raises(Unreadable):
        open_image((header + png_chunks((b"tEXt", b"a\0b"))[8:] + rest)[:80])


def test_facts_say_what_they_mean() -> None:
    views = [Image.new("RGB", (4, 3), colour) for colour in (RED, GREEN)]
    phone = facts(encoded(views[0], "MPO", save_all=True, append_images=views[1:]))
    assert phone.format == "MPO" and not phone.animated
    assert not facts(encoded(Image.new("LAB", (4, 4)), "TIFF")).alpha
