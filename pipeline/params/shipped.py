"""Files that lie at a checkout's root, and in `pipeline/shipped` where the package is installed (setup.py)."""

from pathlib import Path

from pipeline.common.errors import SpectrumError

_PACKAGE = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """The graph (`dvc.yaml`), its `params.yaml`, or the folder `presets`."""
    return next(path for path in (_PACKAGE.parent / name, _PACKAGE / "shipped" / name) if path.exists())


def find_preset(preset: Path) -> Path:
    """The file `preset`, or the shipped preset of that name (`care`). Raises SpectrumError where it is neither."""
    if preset.is_file():
        return preset
    named = {path.stem: path for path in shipped("presets").glob("*.yaml")}
    if preset.stem not in named:
        raise SpectrumError(f"{preset}: no such file, and no preset of that name; there are {', '.join(sorted(named))}")
    return named[preset.stem]
