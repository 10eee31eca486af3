"""What was encoded once is not encoded again: another number of shards, another name, a recipe of before."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from colours import MACHINE, SECTION, Colours
from test_extraction import content, extract

from pipeline import params
from pipeline.common.errors import SpectrumError
from pipeline.extraction import shards
from pipeline.extraction.run import extract as extract_by
from pipeline.params import Cluster
from pipeline.store import shard
from pipeline.store.exchange import ImportOptions, import_features
from pipeline.store.feature_store import FeatureStore
from pipeline.store.folder import rows_folder
from pipeline.store.shard import shards_by_size

Clips = list[tuple[str, Path]]


def by(count: int) -> params.Extraction:
    return SECTION.model_copy(update={"num_shards": count})


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, clips: Clips) -> Callable[[int], dict[str, bytes]]:
    """The files of an undisturbed extraction, by the number of shards."""
    made: dict[int, dict[str, bytes]] = {}

    def of(count: int) -> dict[str, bytes]:
        if count not in made:
            folder = tmp_path_factory.mktemp("fresh") / "store"
            extract(clips, Colours(), folder, by(count))
            made[count] = content(folder)
        return made[count]

    return of


def test_another_number_of_shards_encodes_nothing(tmp_path: Path, clips: Clips,
                                              fresh: Callable[[int], dict[str, bytes]]) -> None:
    store = tmp_path / "store"
    extract(clips, Colours(), store, by(3))
    for count in (6, 1, 4):
        encoder = Colours()
        assert extract(clips, encoder, store, by(count))["reused"] == 9
        assert encoder.encoded == 0
        assert content(store) == fresh(count)
        assert not rows_folder(store).exists()


@pytest.mark.parametrize("published", range(3))
def test_a_kill_while_rows_move_between_shards_loses_none(
        published: int, tmp_path: Path, clips: Clips, fresh: Callable[[int], dict[str, bytes]],
        monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    extract(clips, Colours(), store, by(3))
    left, publish = published, shards.publish

    def killed(path: Path, data: bytes) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        publish(path, data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "publish", killed)
        extract(clips, Colours(), store, by(5))
    encoder = Colours()
    extract(clips, encoder, store, by(4))       # a third number, for the folder has shards of two
    assert encoder.encoded == 0
    assert content(store) == fresh(4)


def test_workers_move_rows_too(tmp_path: Path, clips: Clips, fresh: Callable[[int], dict[str, bytes]]) -> None:
    store = tmp_path / "store"
    (tmp_path / "disk" / "store").mkdir(parents=True)
    store.symlink_to(tmp_path / "disk" / "store")
    extract(clips, Colours(), store, by(3))
    summary = extract_by(clips, Colours, store, by(5), MACHINE, Cluster(scheduler="local", workers=2))
    assert (summary["reused"], summary["frames"]) == (9, 0)
    assert content(store) == fresh(5)


def test_a_renamed_file_is_not_encoded_again(tmp_path: Path, clips: Clips) -> None:
    """Another id and another folder, and two that change their names."""
    extract(clips, Colours(), tmp_path / "store")
    (tmp_path / "moved").mkdir()
    renamed = [(f"new-{video_id}", Path(shutil.copy(path, tmp_path / "moved" / f"{i}.mp4")))
               for i, (video_id, path) in enumerate(clips[:4])]
    swapped = [(clips[4][0], clips[5][1]), (clips[5][0], clips[4][1])]
    videos = [*renamed, *swapped, *clips[6:]]
    encoder = Colours()
    summary = extract(videos, encoder, tmp_path / "store")
    assert (summary["reused"], encoder.encoded) == (9, 0)
    extract(videos, Colours(), tmp_path / "fresh")
    assert content(tmp_path / "store") == content(tmp_path / "fresh")


def test_the_rows_of_a_recipe_that_was_there_before_are_found_again(
        tmp_path: Path, clips: Clips, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    extract(clips, Colours(4), store)
    before = content(store)
    assert extract(clips, Colours(3), store)["reused"] == 0
    shown = capsys.readouterr().err
    assert f"its rows are of another recipe, and are kept in {rows_folder(store)}" in shown
    other = content(store)
    for frames, expected in ((4, before), (3, other), (4, before)):
        encoder = Colours(frames)
        assert (extract(clips, encoder, store)["reused"], encoder.encoded) == (9, 0)
        assert content(store) == expected
        assert len(list(rows_folder(store).iterdir())) == 1     # of the other recipe alone
    shutil.rmtree(rows_folder(store))
    assert extract(clips, Colours(3), store)["reused"] == 0


def test_a_run_killed_on_its_way_to_another_recipe_has_lost_no_row(tmp_path: Path, clips: Clips) -> None:
    class Killed(Colours):
        def submit(self, batch: np.ndarray) -> object:
            if self.encoded > 12:
                raise KeyboardInterrupt
            return super().submit(batch)

    store = tmp_path / "store"
    extract(clips, Colours(4), store)
    before = content(store)
    with pytest.raises(KeyboardInterrupt):
        extract(clips, Killed(3), store, machine=MACHINE.model_copy(update={"save_interval": 0}))
    encoder = Colours(4)
    assert (extract(clips, encoder, store)["videos"], encoder.encoded) == (9, 0)
    assert content(store) == before
    third = Colours(3)
    assert extract(clips, third, store)["videos"] == 9
    assert third.encoded < 27       # what the killed run had finished is there as well


@pytest.mark.parametrize("change", [
    lambda file: file["rows"].__setitem__(0, np.nan), lambda file: file["shares"].__setitem__(slice(None), 7),
    lambda file: file.attrs.__setitem__("recipe_id", np.bytes_("0" * 16)), None])
def test_rows_beside_the_store_are_not_believed_unseen(change: Callable[[h5py.File], object] | None, tmp_path: Path,
                                                       clips: Clips) -> None:
    store = tmp_path / "store"
    extract(clips, Colours(4), store, by(1))
    before = content(store)
    extract(clips, Colours(3), store, by(1))
    (kept,) = rows_folder(store).glob("*/*.h5")
    if change:
        with h5py.File(kept, "r+") as file:
            change(file)
    else:
        data = bytearray(kept.read_bytes())
        data[-1] ^= 1                           # of the last share
        kept.unlink()
        kept.write_bytes(data)
    assert extract(clips, Colours(4), store, by(1))["reused"] < 9
    assert content(store) == before


def test_a_damaged_shard_gives_no_row_to_another_number_of_shards(tmp_path: Path, clips: Clips,
                                                                  fresh: Callable[[int], dict[str, bytes]]) -> None:
    store = tmp_path / "store"
    extract(clips, Colours(), store, by(3))
    with h5py.File(store / "shard-0001.h5", "r+") as file:      # its own checksums are right, store.json's is not
        file["rows"][:] = file["rows"][:] / 2
    assert 0 < extract(clips, Colours(), store, by(5))["reused"] < 9
    assert content(store) == fresh(5)


def test_features_that_are_imported_in_place_of_an_encoder_s_leave_its_rows(tmp_path: Path, clips: Clips) -> None:
    store = tmp_path / "store"
    extract(clips, Colours(), store)
    before = content(store)
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        for video_id, _ in clips:
            file[video_id] = np.ones((2, 7), np.float32)
    import_features(tmp_path / "flat.h5", store, ImportOptions())
    assert FeatureStore.open(store).dim == 7
    encoder = Colours()
    assert (extract(clips, encoder, store)["reused"], encoder.encoded) == (9, 0)
    assert content(store) == before


def test_missing_files_are_noticed_when_the_rows_lie_beside_the_store(tmp_path: Path, clips: Clips) -> None:
    videos = [(video_id, Path(shutil.copy(path, tmp_path))) for video_id, path in clips]
    store = tmp_path / "store"
    extract(videos, Colours(4), store)
    extract(videos[:1], Colours(3), store)
    for _, path in videos:
        path.unlink()
    with pytest.raises(SpectrumError, match="9 of the 9 videos that this store holds are missing"):
        extract(videos, Colours(3), store)


def test_a_store_has_as_many_shards_as_its_size_asks_for(tmp_path: Path, clips: Clips,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    assert [shards_by_size(videos, 0) for videos in (0, 1, 512, 513, 1024, 1025, 10_000)] == [1, 1, 1, 2, 2, 4, 32]
    assert [shards_by_size(1, megabytes << 20) for megabytes in (16, 17, 287)] == [1, 2, 32]
    assert shards_by_size(10 ** 9, 0) == 8192
    for count, videos in ((4, clips), (2, clips[:6])):
        monkeypatch.setattr(shard, "_SHARD_VIDEOS", 3)
        extract(videos, Colours(), tmp_path / "store", by(0))
        assert FeatureStore.open(tmp_path / "store").metadata.shard_count == count
        extract(videos, Colours(), tmp_path / f"fresh-{count}", by(count))
        assert content(tmp_path / "store") == content(tmp_path / f"fresh-{count}")


def test_one_video_more_changes_one_shard(tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "_SHARD_VIDEOS", 3)
    extract(clips[:-1], Colours(), tmp_path / "store", by(0))
    before = content(tmp_path / "store")
    extract(clips, Colours(), tmp_path / "store", by(0))
    after = content(tmp_path / "store")
    assert len([name for name in after if after[name] != before.get(name)]) == 2        # the shard and store.json
