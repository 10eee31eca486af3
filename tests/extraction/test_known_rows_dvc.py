"""Rows of a recipe that was there before, where DVC runs the extraction and links its cache into the workspace."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import SUPPORT
from test_extraction import content

from pipeline.store.feature_store import FeatureStore

EXTRACT = """
import json, sys
from pathlib import Path
from colours import ALONE, MACHINE, SECTION, Colours
from pipeline.extraction.run import extract

frames, shards = json.loads(Path("asked.json").read_text())
videos = [(path.stem, path) for path in sorted(Path(sys.argv[1]).glob("v*.mp4"))]
section = SECTION.model_copy(update={"num_shards": shards})
summary = extract(videos, lambda: Colours(frames), Path("features/set/colours"), section, MACHINE, ALONE)
Path("summary.json").write_text(json.dumps(summary))
"""


@pytest.mark.parametrize("link", ["symlink", "hardlink"])
def test_switching_back_encodes_nothing_and_leaves_the_cache_whole(tmp_path: Path, clips: list[tuple[str, Path]],
                                                               link: str) -> None:
    (tmp_path / "extract.py").write_text(EXTRACT)
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"extract": {
        "cmd": f"{sys.executable} extract.py {clips[0][1].parent}", "deps": ["extract.py", "asked.json"],
        "outs": [{"features/set/colours": {"persist": True}}]}}}))

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, check=True, capture_output=True,
                       env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])})

    def reproduced(*asked: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        (tmp_path / "asked.json").write_text(json.dumps(asked))
        dvc("repro")
        assert FeatureStore.open(tmp_path / "features/set/colours").verify() == []
        return json.loads((tmp_path / "summary.json").read_text()), content(tmp_path / "features/set/colours")

    dvc("init", "--no-scm", "-q")
    dvc("config", "cache.type", link)
    first, before = reproduced(4, 3)
    assert first["frames"] == 36
    assert reproduced(3, 3)[0]["frames"] == 27
    again, after = reproduced(4, 3)
    assert (again["frames"], after == before) == (0, True)
    assert reproduced(4, 5)[0]["frames"] == 0       # the shards that move are links into DVC's cache
    cached = [path for path in (tmp_path / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    assert len(cached) > 10
    for path in cached:
        assert hashlib.md5(path.read_bytes()).hexdigest() == (path.parent.name + path.name).removesuffix(".dir")
