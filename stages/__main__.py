"""The command `spectrum`: the project's programs by their short names.

    spectrum caption holiday.mp4        is        python -m stages.caption holiday.mp4
    spectrum store verify STORE         is        python -m pipeline.store verify STORE
    eval "$(spectrum --completion bash)"          lets the shell complete the names; also zsh and fish
"""

import ast
import difflib
import runpy
import sys
from pathlib import Path

PROGRAMS = {path.stem: f"stages.{path.stem}" for path in sorted(Path(__file__).parent.glob("*.py"))
            if path.stem not in ("__init__", "__main__", "command", "project_code")}
PROGRAMS |= {"params": "pipeline.params", "store": "pipeline.store"}
_HELP = ("-h", "--help")
# What a shell runs to complete the names; files after them are completed as ever.
_BASH = """\
_spectrum() {{ [ "$COMP_CWORD" -eq 1 ] && COMPREPLY=($(compgen -W "{names}" -- "${{COMP_WORDS[1]}}")); }}
complete -o default -F _spectrum spectrum"""
_COMPLETIONS = {"bash": _BASH, "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}",
                "fish": 'complete -c spectrum -n __fish_use_subcommand -a "{names}"'}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in PROGRAMS:
        sys.argv = [f"spectrum {name}", *sys.argv[2:]]
        runpy.run_module(PROGRAMS[name], run_name="__main__")
    elif name in _HELP:
        print(_overview())
    elif name == "--completion" and sys.argv[2:] and sys.argv[2] in _COMPLETIONS:
        print(_COMPLETIONS[sys.argv[2]].format(names=" ".join(PROGRAMS)))
    elif name == "--version":
        from importlib.metadata import version

        print(f"spectrum {version('spectrum-captioning')}")
    else:
        near = difflib.get_close_matches(name, PROGRAMS, 1)
        print(f"error: spectrum has no command {name!r}" + (f"; did you mean {near[0]!r}?" if near else
              "; `spectrum --help` lists them"), file=sys.stderr)
        sys.exit(2)


def _overview() -> str:
    width = max(map(len, PROGRAMS))
    return "\n".join(["usage: spectrum COMMAND …        (spectrum COMMAND --help says more)", "",
                      *(f"  {name:<{width}}  {_summary(module)}" for name, module in PROGRAMS.items())])


def _summary(module: str) -> str:
    """The first line of its docstring, read without importing it."""
    root = Path(__file__).parents[1].joinpath(*module.split("."))
    path = root / "__main__.py" if root.is_dir() else root.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
