"""What pyproject.toml cannot say: the wheel holds the graph, its parameters and the presets, which lie at the root."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRootFiles(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shipped = Path(self.build_lib, "pipeline", "shipped")
            shutil.copytree("presets", shipped / "presets", dirs_exist_ok=True)
            for name in ("dvc.yaml", "params.yaml"):
                shutil.copy(name, shipped)


setup(cmdclass={"build_py": BuildWithRootFiles})
