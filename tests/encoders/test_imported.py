"""Data sets of imported features and captions alone, through the stages; and imported frames of a named model."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from project import ROOT

from pipeline.captioner import checkpoint
from pipeline.captioner.cached_dataset import CachedDataset
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json
from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.encoders import appearance, audio, imported, motion
from pipeline.encoders.text_encoder import ImportedTextEncoder, text_encoder
from pipeline.extraction.imported import import_modality
from pipeline.params import Params, load
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from pipeline.store.exchange import export_features
from pipeline.store.feature_store import FeatureStore
from stages import emotion, encoder, extract, retrieve, train
from stages import index as index_stage

DIM, FRAMES = 16, 3
MOODS = ("happily", "sadly", "angrily")
OVERRIDES = ["dataset=made", "encoders.appearance.name=made-clip", "encoders.appearance.model=somebody",
             "encoders.appearance.weights=imported", "encoders.appearance.features=in/frames.hdf5",
             "encoders.appearance.texts=in/captions.hdf5", "encoders.audio.kind=none",
             "emotion.estimators=[lexicon, expressions]", "retrieval.stored=4", "retrieval.used=2"]


def manifest() -> Manifest:
    """Twelve videos without files, two captions each; the published keys of the test videos are other names."""
    videos = tuple(Video(f"vid{n}", "", "train" if n < 8 else "validation" if n < 10 else "test",
                         (f"tube{n}_0_9",) if n >= 10 else ()) for n in range(12))
    captions = tuple(Caption(video.id, f"person {n} {MOODS[n % 3]} does thing {k}")
                     for n, video in enumerate(videos) for k in range(2))
    return Manifest(videos, captions, tuple(c for c in captions if int(c.video_id[3:]) < 8))


def write_files(found: Manifest, folder: Path) -> dict[str, np.ndarray]:
    """Captions are random directions, a video's frames lie around those of its captions."""
    folder.mkdir()
    random = np.random.default_rng(0)
    vectors = random.normal(size=(len(found.captions), DIM)).astype(np.float32)
    with h5py.File(folder / "captions.hdf5", "w") as file:
        file["embedding"] = (3 * vectors).astype(np.float16)
        file.create_dataset("text", data=[c.text for c in found.captions], dtype=h5py.string_dtype())
        file.create_dataset("video_id", data=[c.video_id for c in found.captions], dtype=h5py.string_dtype())
    frames = {}
    with h5py.File(folder / "frames.hdf5", "w") as file:
        for n, video in enumerate(found.videos):
            rows = vectors[2 * n:2 * n + 2].mean(0) + 0.1 * random.normal(size=(FRAMES, DIM))
            frames[video.id] = rows.astype(np.float16)
            file[video.names[0] if video.names else video.id] = frames[video.id]
        file["unasked"] = np.ones((FRAMES, DIM), np.float16)
    return frames


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Params, Paths, dict[str, np.ndarray]]:
    monkeypatch.chdir(tmp_path)
    params = load(OVERRIDES, ROOT / "params.yaml")
    paths = Paths.of(params)
    found = manifest()
    found.write(paths.data)
    return params, paths, write_files(found, tmp_path / "in")


def test_imported_features_go_through_the_stages(made: tuple[Params, Paths, dict[str, np.ndarray]]) -> None:
    params, paths, frames = made
    assert encoder.run(params, paths) == {"model": "somebody", "weights": "imported", "untrained": False}
    done = extract.run(params, paths, "appearance")
    assert (done["videos"], done["rows"], done["failed"], done["extra"]) == (12, 36, 0, 1)
    extract.run(params, paths, "audio")
    store = FeatureStore.open(paths.appearance)
    assert store.verify() == []
    assert (store.recipe["kind"], store.recipe["untrained"]) == ("imported", False)
    for video_id, rows in frames.items():
        assert store[video_id].tobytes() == rows.tobytes()
    assert FeatureStore.open(paths.audio).recipe["kind"] == "none"

    assert index_stage.run(params, paths)["distinct"] == 16
    assert index.open_index(paths.index, index.model_id(store.recipe)).embeddings.shape == (16, DIM)
    found = retrieve.run(params, paths)
    assert (found["videos"], found["left_out"]) == (12, 0)
    assert found["text_to_video"]["r1"] == 1.0
    assert emotion.run(params, paths)["videos"] == 12

    names = Manifest.load(paths.data).id_of
    export_features(store, Path("out.hdf5"), "hdf5", names)
    with h5py.File("out.hdf5") as file, h5py.File("in/frames.hdf5") as source:
        assert set(file) == set(source) - {"unasked"}
        for key in file:
            assert file[key].dtype == source[key].dtype
            assert file[key][()].tobytes() == source[key][()].tobytes()


def test_the_clip_back_end_is_refused_where_texts_are_imported() -> None:
    with pytest.raises(SpectrumError, match="clip needs a text encoder, .*leave it out"):
        load([*OVERRIDES, "emotion.estimators=[clip]"], ROOT / "params.yaml")


def test_an_own_clip_cannot_be_encoded_by_imported_features(made: tuple[Params, Paths, dict[str, np.ndarray]]) -> None:
    params, paths, _ = made
    with pytest.raises(SpectrumError, match="encoders.appearance: its features are imported, so there is no model"):
        appearance.load(params.encoders.appearance, paths.encoder, "cpu")


def test_a_text_that_is_not_there_is_named(made: tuple[Params, Paths, dict[str, np.ndarray]]) -> None:
    params, paths, _ = made
    encoder.run(params, paths)
    texts = text_encoder(params.encoders.appearance, paths.encoder, "cpu")
    rows = texts.encode_texts(["person 3 happily does thing 1", " person 3  happily does thing 1 "])
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.array_equal(rows[0], rows[1])         # cleaned, as a manifest's captions are
    with pytest.raises(SpectrumError, match=r"no embedding of the text 'nobody' \(1 such among 2\)"):
        texts.encode_texts(["person 3 happily does thing 1", "nobody"])
    assert texts.encode_texts([]).shape == (0, DIM)


def test_a_file_that_has_changed_is_noticed(made: tuple[Params, Paths, dict[str, np.ndarray]]) -> None:
    params, paths, _ = made
    section = params.encoders.appearance
    encoder.run(params, paths)
    for name in ("frames.hdf5", "captions.hdf5"):
        path = Path("in", name)
        data = path.read_bytes()
        path.write_bytes(data + b"\0")
        with pytest.raises(SpectrumError, match=f"{name}: missing, or not the file that the encoder's folder was"):
            text_encoder(section, paths.encoder, "cpu")
        with pytest.raises(SpectrumError, match="run `python -m stages.encoder`"):
            import_modality("appearance", params, paths.encoder, paths.appearance, {})
        path.write_bytes(data)
    other = section.model_copy(update={"model": "another"})
    with pytest.raises(SpectrumError, match="it is of somebody with weights imported"):
        text_encoder(other, paths.encoder, "cpu")


def test_frames_and_texts_must_fit(made: tuple[Params, Paths, dict[str, np.ndarray]]) -> None:
    params, paths, _ = made
    section = params.encoders.appearance
    with h5py.File("narrow.hdf5", "w") as file:
        file["vid0"] = np.ones((2, DIM - 1), np.float16)
    with pytest.raises(SpectrumError, match=r"are \[2, 15\], but the texts in .* are 16 wide"):
        imported.prepare(section.model_copy(update={"features": "narrow.hdf5"}), paths.encoder)
    assert not (paths.encoder / "encoder.json").exists()


def test_encoding_captions_imports_no_video_decoding() -> None:
    """By what is imported, and by the sources: importing late is importing."""
    from pipeline.common.code import import_closure

    code = ("import sys\nimport pipeline.encoders.text_encoder\n"
            "assert not {'torch', 'open_clip', 'av', 'pipeline.media'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)
    files = {path.as_posix() for path in import_closure("pipeline.encoders.text_encoder")}
    assert not [file for file in files if file.startswith(("pipeline/media", "pipeline/extraction"))]
    assert not files & {"pipeline/store/folder.py", "pipeline/store/exchange.py", "pipeline/encoders/audio.py"}
    training = import_closure("stages.encoder")
    assert not {Path("pipeline/encoders/audio.py"), Path("pipeline/encoders/motion.py")} & training


def texts_file(name: str, embedding: object = None, text: object = None) -> Path:
    with h5py.File(name, "w") as file:
        if embedding is not None:
            file["embedding"] = embedding
        if text is not None:
            file["text"] = text
    return Path(name)


@pytest.mark.parametrize(("embedding", "text", "match"), [
    (None, ["a"], "expected an HDF5 file with the data sets `embedding`"),
    (np.ones((2, 4), np.float32), ["a"], "expected as many strings as there are embeddings"),
    (np.ones((1, 4), np.float32), [1], "expected as many strings"),
    (np.zeros((1, 4), np.float32), ["a"], "1 embeddings, the first of them row 0, are zero or not finite"),
    (np.full((1, 4), np.nan, np.float32), ["a"], "zero or not finite"),
    (np.ones((1, 4), int), ["a"], "expected floating point"),
])
def test_a_file_of_texts_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedding: object,
                                                 text: object, match: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpectrumError, match=match):
        ImportedTextEncoder(texts_file("t.hdf5", embedding, text), {})


def test_imported_frames_of_a_named_model(made: tuple[Params, Paths, dict[str, np.ndarray]]) -> None:
    """Frames from a file, captions through the text tower of the model that made them."""
    _, paths, _ = made
    params = load([*OVERRIDES, "encoders.appearance.model=spectrum-sample", "encoders.appearance.weights=random",
                   "encoders.appearance.texts=''"], ROOT / "params.yaml")
    section = params.encoders.appearance
    encoder.run(params, paths)
    facts = read_json(paths.encoder / "encoder.json")
    with h5py.File("wide.hdf5", "w") as file:
        for video_id in manifest().ids():
            file[video_id] = np.random.default_rng(0).normal(size=(2, facts["dim"])).astype(np.float32)
    section = section.model_copy(update={"features": "wide.hdf5"})
    settings = params.model_copy(
        update={"encoders": params.encoders.model_copy(update={"appearance": section})})
    import_modality("appearance", settings, paths.encoder, paths.appearance, manifest().id_of)
    texts = text_encoder(section, paths.encoder, "cpu")
    store = FeatureStore.open(paths.appearance)
    assert index.model_id(texts.recipe) == index.model_id(store.recipe)
    assert store.recipe["untrained"]                # as the weights of the text tower are
    assert texts.encode_texts(["a man", "any text"]).shape == (2, facts["dim"])
    assert (store.dim, store.dtype) == (facts["dim"], np.float32)


SOUND_AND_MOTION = ["encoders.audio.name=vggish", "encoders.audio.kind=imported", "encoders.audio.model=VGGish",
                    "encoders.audio.features=in/sound.hdf5", "encoders.motion.kind=imported",
                    "encoders.motion.features=in/motion", "captioner.hidden_size=16", "captioner.num_heads=2",
                    "captioner.feedforward_size=16", "captioner.universal_words=5", "captioner.min_word_count=1",
                    "training.epochs=1"]
SILENT, ZEROS = ("vid2", "vid9", "vid11"), "vid4"


def write_sound_and_motion(found: Manifest) -> dict[str, np.ndarray]:
    """As published: clips without sound lack in the file, or are zeros; motion is a folder of .npy."""
    random = np.random.default_rng(1)
    sound = {video.id: random.normal(size=(2 + n % 3, 8)).astype(np.float32) for n, video in enumerate(found.videos)}
    Path("in/motion").mkdir()
    with h5py.File("in/sound.hdf5", "w") as file:
        for video in found.videos:
            if video.id not in SILENT:
                file[video.id] = np.zeros((2, 8), np.float32) if video.id == ZEROS else sound[video.id]
            np.save(f"in/motion/{video.id}.npy", random.normal(size=(3, 6)).astype(np.float16))
    return sound


def test_sound_and_motion_come_in_by_the_same_way_and_what_lacks_is_a_mask(
        made: tuple[Params, Paths, dict[str, np.ndarray]], capsys: pytest.CaptureFixture[str]) -> None:
    params = load([*OVERRIDES, *SOUND_AND_MOTION, "data.videos=in/motion"], ROOT / "params.yaml")
    paths = Paths.of(params)
    sound = write_sound_and_motion(manifest())
    encoder.run(params, paths)
    done = {part: extract.run(params, paths, part) for part in extract.MODALITIES}
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "DVC does not notice" in line]
    assert named == ["in/frames.hdf5", "in/sound.hdf5"]         # motion is in data.videos, which DVC watches
    assert [(done[part]["videos"], done[part]["failed"], done[part]["of_zeros"]) for part in extract.MODALITIES] == \
        [(12, 0, 0), (8, 4, 1), (12, 0, 0)]
    sound_store, motion_store = FeatureStore.open(paths.audio), FeatureStore.open(paths.motion)
    assert paths.audio.name == "vggish" and sound_store.verify() == motion_store.verify() == []
    assert sound_store.modality == "audio"
    assert (sound_store.recipe["kind"], sound_store.recipe["model"]) == ("imported", "VGGish")
    assert (motion_store.modality, motion_store.recipe["model"], motion_store.dim) == ("motion", "unknown", 6)
    assert sound_store["vid0"].tobytes() == sound["vid0"].tobytes()

    for stage in (index_stage, retrieve, emotion):
        stage.run(params, paths)
    sources = CachedDataset.open(paths)
    inputs = sources.inputs([f"vid{n}" for n in range(12)], params.captioner.modalities, 2).select(range(12))
    mask = inputs.modalities["audio"].mask
    assert [f"vid{n}" for n in range(12) if not mask[n].any()] == sorted([*SILENT, ZEROS], key=lambda v: int(v[3:]))
    assert mask.sum() == sum(len(rows) for video, rows in sound.items() if video not in (*SILENT, ZEROS))
    done = train.run(params, paths, "captioner")
    assert done["left_out"] == {"without_frames": 0, "without_sound": 3, "without_motion": 0}   # of train, validation
    trained = checkpoint.load(paths.captioner)
    assert set(trained.model.shape.dims) == {"appearance", "audio", "motion", "text"}

    # a file that has changed is another recipe, which the captioner refuses
    with h5py.File("in/sound.hdf5", "a") as file:
        file["vid2"] = sound["vid2"]
    assert extract.run(params, paths, "audio")["failed"] == 3
    with pytest.raises(SpectrumError, match="estimated from other audio features than those that are there"):
        CachedDataset.open(paths)
    emotion.run(params, paths)
    with pytest.raises(SpectrumError, match="was trained on audio of recipe"):
        checkpoint.refuse_other_recipes(trained, CachedDataset.open(paths).recipes)
    for part in (audio, motion):
        with pytest.raises(SpectrumError, match="no model to encode files with"):
            part.load(getattr(params.encoders, part.__name__.rpartition(".")[2]), "cpu")


def test_frames_that_lack_are_an_error_of_their_own(made: tuple[Params, Paths, dict[str, np.ndarray]]) -> None:
    params, paths, _ = made
    with h5py.File("in/frames.hdf5", "a") as file:
        del file["vid3"]
    encoder.run(params, paths)
    with pytest.raises(SpectrumError, match=r"no features of 1 of 12 videos \('vid3'\).*extraction\.allowed_failures"):
        extract.run(params, paths, "appearance")
    allowed = load([*OVERRIDES, "extraction.allowed_failures=0.1"], ROOT / "params.yaml")
    assert extract.run(allowed, paths, "appearance")["failed"] == 1


@pytest.mark.parametrize(("overrides", "match"), [
    (["encoders.appearance.texts=''"], "weights imported need texts"),
    (["encoders.appearance.weights=openai"], "weights imported need texts"),
    (["encoders.appearance.features=''"], "features must be"),
    (["encoders.appearance.weights=train", "encoders.appearance.texts=''"], "weights cannot be train"),
    (["encoders.audio.kind=imported"], "encoders.audio: kind imported needs features"),
    (["encoders.audio.kind=logmel", "encoders.audio.features=a.h5"], "encoders.audio: kind imported needs features"),
    (["encoders.motion.features=a.h5"], "encoders.motion: kind imported needs features"),
])
def test_parameters_that_do_not_fit_are_refused(overrides: list[str], match: str) -> None:
    with pytest.raises(SpectrumError, match=match):
        load([*OVERRIDES, *overrides], ROOT / "params.yaml")
