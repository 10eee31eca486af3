"""What the benchmark of growth makes of its measurements."""

from pathlib import Path

import pytest
import typer

from benchmarks.scaling import draw, fit, main, plan


def measured(stage: str, videos: int, seconds: float, megabytes: float, short: bool = False) -> dict[str, object]:
    return {"stage": stage, "videos": videos, "short": short, "cpu_seconds": seconds, "peak_mb": megabytes}


def test_growth_is_extrapolated_from_the_largest_sizes(tmp_path: Path) -> None:
    runs = [measured("train", 100, 9.0, 500.0), measured("train", 1000, 10.0, 600.0),
            measured("train", 10_000, 1000.0, 1500.0), measured("train", 100_000, 3.0, 10_500.0, short=True)]
    found = fit(runs)["train"]
    assert found["exponent"] == pytest.approx(2)            # of the runs that were not cut short
    assert found["base_mb"] == pytest.approx(500) and found["kilobytes_a_video"] == pytest.approx(102.4)
    clips = next(row for row in plan({"train": found}) if row["data"] == "1 M clips")
    assert clips["hours"]["train"] == pytest.approx(1000 * 100**2 / 3600)
    assert clips["memory_gb"]["train"] == pytest.approx((500 + 100_000) / 1024)
    draw(runs, tmp_path / "scaling.svg")
    assert "<svg" in (tmp_path / "scaling.svg").read_text()


def test_one_size_is_no_growth() -> None:
    with pytest.raises(typer.BadParameter, match="two sizes"):
        main(largest=1)
