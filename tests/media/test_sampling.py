import pytest

from pipeline.common.errors import SpectrumError
from pipeline.media import sampling
from pipeline.media.sampling import Rate, Uniform, Windows


def test_uniform_times_are_the_centres_of_equal_parts() -> None:
    assert Uniform(4).times(1.0, 3.0) == [1.25, 1.75, 2.25, 2.75]
    assert Uniform(1).times(0.0, 5.0) == [2.5]


def test_a_rate_gives_the_centres_of_its_parts() -> None:
    assert Rate(2).times(1.0, 3.0) == [1.25, 1.75, 2.25, 2.75]
    assert Rate(1).times(0.0, 2.4) == [0.5, 1.5]        # the third centre, 2.5, lies beyond the end
    assert Rate(1).times(0.0, 2.5) == pytest.approx([0.5, 1.5, 2.5])
    assert Rate(0.5).times(0.0, 6.0) == [1.0, 3.0, 5.0]


def test_a_rate_gives_a_short_clip_one_time() -> None:
    assert Rate(1).times(3.0, 3.2) == pytest.approx([3.1])
    assert Rate(1).times(3.0, 3.0) == [3.0]


def test_windows_lie_around_uniform_times() -> None:
    assert Windows(2, 4, 1.0).times(0.0, 4.0) == pytest.approx([0.625, 0.875, 1.125, 1.375, 2.625, 2.875, 3.125, 3.375])
    assert Windows(1, 1, 2.0).times(0.0, 4.0) == [2.0]


def test_windows_stay_within_the_video() -> None:
    assert Windows(1, 4, 8.0).times(1.0, 3.0) == [1.0, 1.0, 3.0, 3.0]


def test_windows_may_overlap() -> None:
    times = Windows(2, 2, 4.0).times(0.0, 4.0)
    assert times == [0.0, 2.0, 2.0, 4.0]


@pytest.mark.parametrize("kind", [Uniform(8), Rate(2.5), Rate(1), Windows(4, 16, 2.0)])
def test_a_recipe_names_its_sampling(kind: sampling.Sampling) -> None:
    assert sampling.of(kind.recipe) == kind


@pytest.mark.parametrize("recipe", [{}, {"times": "uniform"}, {"times": "uniform", "frames": "8"}, {"times": "often"}])
def test_an_unknown_recipe_is_refused(recipe: dict[str, object]) -> None:
    with pytest.raises(SpectrumError, match="expected the recipe"):
        sampling.of(recipe)
