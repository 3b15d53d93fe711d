"""From a user's folder to batches of clips."""

import itertools
import shutil
from collections import Counter

import av
import numpy as np
import pytest

from model.finetune.batches import Clips, bucket, clip_loader, plan
from model.finetune.videos import CaptionedVideo, DataError, find_videos, fingerprint
from model.finetune.windows import Extent, has_room, measure, read_window
from model.video_io import write_mp4
from tests.backbones.clips import number_of, numbered_frames, write_folder, write_metadata_folder, write_tars


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For reading only."""
    return write_folder(tmp_path_factory.mktemp("clips") / "folder")


def video(path) -> CaptionedVideo:
    return CaptionedVideo(path.name, "", path)


class TestFindVideos:
    def test_text_files(self, folder):
        found = find_videos(folder)

        assert [v.name for v in found] == ["more/wide.mp4", "quick.mp4", "short.mp4", "square.mp4", "tinted.mp4"]
        assert found[0].caption == "a wide clip"

    def test_metadata(self, tmp_path):
        found = find_videos(write_metadata_folder(tmp_path / "data"))

        assert {v.name: v.caption for v in found}["more/wide.mp4"] == "told of wide"

    def test_tars_are_read_in_place(self, tmp_path, folder):
        found = find_videos(write_tars(tmp_path / "tars", tmp_path / "scratch"))

        assert [v.caption for v in found] == [
            "shard 0 wide", "shard 0 quick", "shard 1 short", "shard 1 square", "shard 1 tinted",
        ]  # fmt: skip
        with found[3].open() as file:
            assert file.read() == (tmp_path / "scratch/square.mp4").read_bytes()
        assert measure(found[3]) == measure(video(folder / "square.mp4"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda data: (data / "square.txt").unlink(), r"square\.mp4 has no caption"),
            (lambda data: (data / "metadata.jsonl").write_text('{"file_name": "a.mp4"}'), "line 1: no caption under"),
            (lambda data: (data / "metadata.jsonl").write_text('\n{"text": "a"}'), "line 2: file_name is missing"),
            (lambda data: (data / "metadata.jsonl").write_text("no json"), "line 1 is not JSON"),
            (lambda data: (data / "metadata.jsonl").write_text('{"file_name":"a.mp4","text":"a"}'), "names a.mp4"),
            (lambda data: (data / "square.txt").write_bytes(b"\xff\xfe\xfa"), r"square\.txt cannot be read"),
            (lambda data: (data / "x.tar").write_bytes(b"no tar"), r"x\.tar cannot be read"),
            (shutil.rmtree, "neither a folder nor"),
            (lambda data: (shutil.rmtree(data), data.mkdir()), "holds no videos"),
        ],
    )
    def test_what_is_wrong_is_named(self, folder, tmp_path, change, message):
        data = shutil.copytree(folder, tmp_path / "data")
        change(data)

        with pytest.raises(DataError, match=message):
            find_videos(data)

    def test_fingerprints_differ_with_names_and_captions(self, folder):
        videos = find_videos(folder)

        assert fingerprint(videos) == fingerprint(find_videos(folder))
        assert fingerprint(videos) != fingerprint(videos[1:])
        assert fingerprint(videos) != fingerprint([*videos[:-1], CaptionedVideo(videos[-1].name, "else", folder)])


class TestWindows:
    def test_size_and_length(self, folder):
        assert measure(video(folder / "more/wide.mp4")) == pytest.approx(Extent(32, 48, 1.5), abs=0.01)
        assert measure(video(folder / "quick.mp4")) == pytest.approx(Extent(64, 64, 30 / 32), abs=0.01)

    @pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.5, 6), (1.0, 12)])
    def test_frames_at_the_files_own_rate(self, folder, start, first):
        square = video(folder / "square.mp4")

        window = read_window(square, measure(square), start, 8, 16, (32, 32))

        assert window.shape == (3, 8, 32, 32)
        assert number_of(window.permute(1, 0, 2, 3).numpy()).tolist() == list(range(first, first + 8))

    def test_other_rates_show_what_is_seen_at_those_times(self, folder):
        quick = video(folder / "quick.mp4")

        window = read_window(quick, measure(quick), 0.0, 10, 16, (32, 32))

        assert number_of(window.permute(1, 0, 2, 3).numpy()).tolist() == list(range(0, 20, 2))

    def test_a_window_deep_in_a_long_file(self, tmp_path):
        write_mp4(np.tile(numbered_frames(25, 32, 32), (20, 1, 1, 1)), tmp_path / "long.mp4", 25)
        long = video(tmp_path / "long.mp4")

        window = read_window(long, measure(long), 400 / 475, 25, 25, (32, 32))

        assert number_of(window.permute(1, 0, 2, 3).numpy()).tolist() == list(range(25))

    def test_other_shapes_are_filled_and_cut_at_the_middle(self, tmp_path):
        frames = numbered_frames(2, 32, 96)
        frames[:, :, :32, 1], frames[:, :, 64:, 2] = 200, 200
        write_mp4(frames, tmp_path / "wide.mp4", 16)
        wide = video(tmp_path / "wide.mp4")

        window = read_window(wide, measure(wide), 0.0, 2, 16, (16, 16)).float()

        assert window.shape == (3, 2, 16, 16)
        assert window[1:, :, :, 2:-2].max() < 30

    def test_turned_videos_are_upright(self, tmp_path):
        frames = numbered_frames(4, 32, 64)
        write_mp4(frames, tmp_path / "lying.mp4", 16)
        with av.open(tmp_path / "lying.mp4") as source, av.open(tmp_path / "turned.mp4", "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            stream.set_display_rotation(90)
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)

        assert measure(video(tmp_path / "turned.mp4"))[:2] == (64, 32)

    def test_files_that_end_early_or_are_broken_are_named(self, folder, tmp_path):
        short = video(folder / "short.mp4")
        with pytest.raises(DataError, match=r"short\.mp4 ends after 7 of the 20 frames"):
            read_window(short, measure(short), 0.0, 20, 16, (32, 32))
        (tmp_path / "cut.mp4").write_bytes((folder / "square.mp4").read_bytes()[:600])
        with pytest.raises(DataError, match=r"cut\.mp4"):
            measure(video(tmp_path / "cut.mp4"))

    def test_playlists_do_not_open_other_files(self, folder, tmp_path):
        (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{folder / 'square.mp4'}'\n")

        with pytest.raises(DataError, match=r"list\.mp4 cannot be read"):
            measure(video(tmp_path / "list.mp4"))

    def test_room(self):
        assert has_room(Extent(1, 1, 0.5), 8, 16)
        assert not has_room(Extent(1, 1, 0.45), 8, 16)


class TestBatches:
    @pytest.mark.parametrize(
        ("height", "width", "size"),
        [
            (720, 1280, (32, 56)),
            (1080, 1080, (32, 32)),
            (1280, 720, (56, 32)),
            (480, 640, (32, 40)),
            (90, 1000, (32, 56)),
        ],
    )
    def test_buckets(self, height, width, size):
        assert bucket(Extent(height, width, 1), 32, 8) == size

    def test_every_batch_is_of_one_size_and_every_video_comes_equally_often(self):
        sizes = [(32, 32)] * 5 + [(32, 48)] * 2

        batches = list(itertools.islice(plan(sizes, 2, 0, 0.1), 350))

        assert all(len({draw.size for draw in batch}) == 1 for batch in batches)
        counts = Counter(draw.video for batch in batches for draw in batch)
        assert max(counts.values()) - min(counts.values()) <= 2
        dropped = sum(not draw.captioned for batch in batches for draw in batch) / 700
        assert 0.05 < dropped < 0.16

    def test_seed_and_number_say_everything(self):
        sizes = [(32, 32)] * 5

        straight = list(itertools.islice(plan(sizes, 2, 3, 0.0), 20))

        assert list(itertools.islice(plan(sizes, 2, 3, 0.0), 12, 20)) == straight[12:]
        assert list(itertools.islice(plan(sizes, 2, 4, 0.0), 20)) != straight

    @pytest.mark.parametrize("workers", [0, 2])
    def test_processes_share_the_batches_between_them(self, folder, workers):
        videos = [v for v in find_videos(folder) if "short" not in v.name]
        extents = [measure(v) for v in videos]
        clips, sizes = Clips(videos, extents, 6, 16.0), [bucket(e, 32, 8) for e in extents]

        def captions(rank: int, processes: int, first: int = 0) -> list[str]:
            loader = clip_loader(clips, plan(sizes, 1, 0, 0.0), first, rank, processes, workers, pin=False)
            batches = list(itertools.islice(loader, 4))
            assert {b.pixels.shape[:3] for b in batches} == {(1, 3, 6)}
            return [b.captions[0] for b in batches]

        one = captions(0, 2)
        alone = [videos[batch[0].video].caption for batch in itertools.islice(plan(sizes, 1, 0, 0.0), 12)]
        assert one == alone[0:8:2]
        assert captions(1, 2) == alone[1:8:2]
        assert captions(1, 2, first=2) == alone[5:12:2]
