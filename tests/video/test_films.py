"""Films, written and read by PyAV; skipped without the extra."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.video import render as rendering
from quantart_cli.video.clips import check_target, open_clip
from quantart_cli.video.film_writer import CODECS
from quantart_cli.video.render import render
from tests.conftest import scene
from tests.video.clips import Inverter, job_of, seconds, square, write_gif

av = pytest.importorskip("av")
TIMES = [0, 1, 3, 4, 9, 10]  # of a film of variable frame rate, in 1/30 s


def write_film(
    path,
    frames,
    *,
    codec="libx264",
    pixels="yuv420p",
    times=None,
    sound=None,
    rate=30,
    options=None,
    **context,
):
    """Write a film; attributes of the codec context in ``context``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        height, width = frames[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = Fraction(1, rate)
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        audio = container.add_stream(sound, rate=48000) if sound else None
        for i, frame in enumerate(frames):
            made = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
            made.pts = (times or range(len(frames)))[i]
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
        if audio is not None:
            write_silence(container, audio)


def write_silence(container, stream):
    for number in range(20):
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.sample_rate, silence.pts = 48000, number * 1024
        container.mux(stream.encode(silence))
    container.mux(stream.encode(None))


def open_(path, max_pixels=10**6):
    return open_clip(str(path), rate=Fraction(25), max_pixels=max_pixels)


def decoded(path):
    """(frames, times in seconds, the stream's facts) of a film."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        base = frames[0].pts
        return (
            [frame.to_ndarray(format="rgb24") for frame in frames],
            [(frame.pts - base) * stream.time_base for frame in frames],
            (stream.codec_context.name, stream.codec_context.pix_fmt, stream.width, stream.height),
        )


def sound_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "clip.mp4"
    write_film(path, square(6), times=TIMES, sound="aac", options={"crf": "10"})
    return path


def test_reading(film):
    clip = open_(film)
    assert (clip.size, clip.frames, clip.alpha, clip.sound) == ((64, 48), 6, False, "aac")
    frames = list(clip.read())
    assert [frame.time * 30 for frame in frames] == TIMES
    assert [frame.duration * 30 for frame in frames][:-1] == [1, 2, 1, 5, 1]
    for frame, pixels in zip(frames, square(6), strict=True):
        assert np.abs(frame.picture.rgb.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", None), ("mkv", "hevc"), ("mov", "prores"), ("webm", "av1")])
def test_times_and_sound_are_kept(film, tmp_path, suffix, codec):
    sound = suffix != "webm"  # which takes no AAC
    out = tmp_path / f"out.{suffix}"
    render(job_of(open_(film), out, codec=codec, sound=sound), Inverter())
    frames, times, (name, *_) = decoded(out)
    unit = Fraction(1, 1000) if suffix in ("mkv", "webm") else 0  # Matroska counts milliseconds
    assert all(abs(time - Fraction(wanted, 30)) <= unit for time, wanted in zip(times, TIMES, strict=True))
    assert name == {"av1": "libdav1d"}.get(codec, codec or "h264")
    for frame, pixels in zip(frames, square(6), strict=True):
        assert np.abs(frame.astype(int) - (255 - pixels)).mean() < 8
    if sound:
        assert sound_of(out) == sound_of(film)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", out.name]


def test_segments_are_joined_without_loss(film, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "_CUT_EVERY", 0.0)
    job = job_of(open_(film), tmp_path / "out.mkv", codec="ffv1")
    report = render(job, Inverter(interrupt=4))
    assert len(decoded(tmp_path / "out.mkv")[0]) == 4
    assert (report.painted, report.stopped) == (4, True)
    assert render(job, Inverter()).before == 4
    frames = decoded(tmp_path / "out.mkv")[0]
    expected = [255 - frame.picture.rgb for frame in open_(film).read()]
    assert np.array_equal(frames, expected)


@pytest.mark.parametrize(("codec", "suffix"), [("h264", "mp4"), ("hevc", "mp4"), ("vp9", "webm")])
def test_segments_of_codecs_that_predict(film, tmp_path, monkeypatch, codec, suffix):
    monkeypatch.setattr(rendering, "_CUT_EVERY", 0.0)
    render(job_of(open_(film), tmp_path / f"out.{suffix}", codec=codec, sound=False), Inverter())
    frames, times, _ = decoded(tmp_path / f"out.{suffix}")
    assert [round(time * 30) for time in times] == TIMES
    for frame, pixels in zip(frames, square(6), strict=True):
        assert np.abs(frame.astype(int) - (255 - pixels)).mean() < 8


def test_start_and_end_cut_the_sound(film, tmp_path):
    start, end = seconds("0.1", "0.3")
    render(job_of(open_(film), tmp_path / "out.mp4", start=start, end=end), Inverter())
    _, times, _ = decoded(tmp_path / "out.mp4")
    assert [round(float(time), 3) for time in times] == [0, 0.033]
    assert 0 < len(sound_of(tmp_path / "out.mp4")) < len(sound_of(film))


def test_odd_sizes_lose_a_pixel(tmp_path):
    frames = [scene(49, 33, i) for i in range(2)]
    write_film(tmp_path / "odd.mkv", frames, codec="ffv1", pixels="bgr0")
    clip = open_(tmp_path / "odd.mkv")
    assert clip.size == (49, 33)
    render(job_of(clip, tmp_path / "out.mp4"), Inverter())
    assert decoded(tmp_path / "out.mp4")[2][2:] == (48, 32)


@pytest.mark.parametrize(("pixels", "codec"), [("yuv420p10le", "libx264"), ("yuvj420p", "libx264"), ("gray", "ffv1")])
def test_pixel_formats(tmp_path, pixels, codec):
    options = {"crf": "5"} if codec == "libx264" else {}
    write_film(tmp_path / "a.mkv", square(2), codec=codec, pixels=pixels, options=options)
    found = next(open_(tmp_path / "a.mkv").read()).picture.rgb
    grey = np.abs(found[0, 0].astype(int) - 90).max()
    assert grey <= 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("space", [1, 5])
def test_colours_survive(tmp_path, full, space):
    """Range and matrix are read, kept and written: the colours of a film are those of its frames."""
    values = np.zeros((2, 32, 48, 3), np.uint8)
    values[:] = (200, 60, 30)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, 2 if full else 1
        for i, frame in enumerate(values):
            made = av.VideoFrame.from_ndarray(frame, format="rgb24")
            made = made.reformat(
                format="yuv420p", dst_colorspace=space, src_color_range=2, dst_color_range=2 if full else 1
            )
            made.pts = i
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
    clip = open_(tmp_path / "a.mkv")
    found = next(clip.read()).picture.rgb
    assert np.abs(found[16, 24].astype(int) - (200, 60, 30)).max() <= 3
    render(job_of(clip, tmp_path / "out.mp4", crf=1), Inverter())
    out = open_(tmp_path / "out.mp4")
    assert out.colour[3] == (2 if full else 1)
    painted = next(out.read()).picture.rgb
    assert np.abs(painted[16, 24].astype(int) - (55, 195, 225)).max() <= 4


@pytest.mark.parametrize(("suffix", "codec"), [("mov", None), ("webm", None), ("mkv", "ffv1")])
def test_transparency_is_kept(tmp_path, suffix, codec):
    frames = [np.dstack([pixels, np.where(pixels[..., 0] > 150, 255, 0)]).astype(np.uint8) for pixels in square(3)]
    write_film(tmp_path / "a.mkv", frames, codec="ffv1", pixels="bgra")
    clip = open_(tmp_path / "a.mkv")
    assert clip.alpha
    render(job_of(clip, tmp_path / f"out.{suffix}", codec=codec), Inverter())
    again = open_(tmp_path / f"out.{suffix}")
    assert again.alpha
    for found, wanted in zip(again.read(), frames, strict=True):
        assert np.abs(found.picture.alpha.astype(int) - wanted[..., 3]).mean() < 3


def rotated(path, degrees):
    """A film with a rotation flag: a display matrix, as telephones write it."""
    write_film(path, square(2), options={"crf": "10"})
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix of the track's header
    one, minus = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
    nothing, last = bytes(4), (1 << 30).to_bytes(4, "big")
    matrix = {
        90: (nothing, one, nothing, minus, nothing, nothing),
        180: (minus, nothing, nothing, nothing, minus, nothing),
    }
    data[at : at + 36] = b"".join((*matrix[degrees], nothing, nothing, last))
    path.write_bytes(data)


@pytest.mark.parametrize("degrees", [90, 180])
def test_rotation_is_applied(tmp_path, degrees):
    rotated(tmp_path / "a.mp4", degrees)
    clip = open_(tmp_path / "a.mp4")
    upright = np.rot90(square(1)[0], -degrees // 90)  # the flag turns clockwise
    assert clip.size == (upright.shape[1], upright.shape[0])
    assert np.abs(next(clip.read()).picture.rgb.astype(int) - upright).mean() < 4


def test_a_film_that_is_cut_short(tmp_path):
    write_film(tmp_path / "a.mkv", [scene(64, 48, i) for i in range(20)])
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    report = render(job_of(open_(tmp_path / "cut.mkv"), tmp_path / "out.mp4"), Inverter())
    assert 5 < report.painted < 20


def test_broken_frames_are_told_and_held(tmp_path):
    write_film(tmp_path / "a.mkv", [scene(64, 48, i) for i in range(8)], options={"bf": "0"})
    with av.open(str(tmp_path / "a.mkv")) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][4]
        payload = bytes(packet)
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data.replace(payload[100:], bytes(len(payload) - 100)))
    report = render(job_of(open_(tmp_path / "a.mkv"), tmp_path / "out.mkv", codec="ffv1"), Inverter())
    assert report.broken
    assert len(decoded(tmp_path / "out.mkv")[0]) == 8


def test_one_frame(tmp_path):
    write_film(tmp_path / "a.mp4", square(1))
    assert render(job_of(open_(tmp_path / "a.mp4"), tmp_path / "out.mp4"), Inverter()).painted == 1
    assert len(decoded(tmp_path / "out.mp4")[0]) == 1


def test_a_gif_becomes_a_film(tmp_path):
    write_gif(tmp_path / "a.gif", square(4), [40, 40, 200, 70])
    render(job_of(open_(tmp_path / "a.gif"), tmp_path / "out.mp4"), Inverter())
    assert decoded(tmp_path / "out.mp4")[1] == seconds("0", "0.04", "0.08", "0.28")


def test_refused_to_read(tmp_path):
    write_film(tmp_path / "a.mp4", square(2))
    (tmp_path / "head.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:300])
    (tmp_path / "text.mkv").write_text("no film at all")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        write_silence(container, container.add_stream("aac", rate=48000))
    for name, words in {
        "head.mp4": "damaged, cut short, or no film",
        "text.mkv": "damaged, cut short, or no film",
        "sound.mp4": "has no pictures, only sound",
    }.items():
        with pytest.raises(QuantArtError, match=words):
            open_(tmp_path / name)
    with pytest.raises(QuantArtError, match=r"64 × 48 = 0.003072 megapixels: raise max_pixels"):
        open_(tmp_path / "a.mp4", max_pixels=1000)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.webm", {}, "cannot hold the sound, aac: use .mkv or .mov"),
        ("out.mp4", {"codec": "prores"}, "prores goes into .mov, .mkv"),
        ("out.mov", {"codec": "prores", "crf": 20}, "codec prores takes no crf"),
        ("out.gif", {"crf": 20}, "crf is of films, and .*out.gif is none"),
        ("out", {"codec": "h264"}, "codec is of films"),
        ("out.mp4", {"alpha": True}, "h264 keeps no transparency"),
        ("out.mp4", {"size": (8, 8)}, "h264 needs at least 16 × 16 pixels, not 8 × 8"),
        ("out.mp4", {"codec": "hevc", "size": (48, 64)}, "hevc needs at least 64 × 16"),
    ],
)
def test_refused_to_write(film, tmp_path, name, options, words):
    clip = open_(film)
    target = replace(job_of(clip, tmp_path / name).target, **options)
    with pytest.raises(QuantArtError, match=words):
        check_target(clip, target)


def test_all_codecs_are_options():
    from quantart_cli.cli.video import CODECS as offered

    assert set(offered) == set(CODECS)
