"""What Sphinx-Gallery has to know of scripts that also run by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst


class Pictures:
    """Moves what a block of a script has saved into the gallery. The form is that of Sphinx-Gallery's scrapers."""

    def __repr__(self) -> str:
        return type(self).__name__  # a part of the configuration, which has to stay the same from run to run

    def __call__(self, block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
        found = sorted(Path(block_vars["src_file"]).parent.glob("*.png"))
        moved = [Path(path) for _, path in zip(found, block_vars["image_path_iterator"], strict=False)]
        for picture, place in zip(found, moved, strict=True):
            picture.replace(place)
        return str(figure_rst([str(place) for place in moved], gallery_conf["src_dir"]))


class Arguments:
    """None, and ``__file__``, which data lies beside; the form is that of Sphinx-Gallery's ``reset_argv``."""

    def __repr__(self) -> str:
        return type(self).__name__

    def __call__(self, gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
        script_vars["example_globals"]["__file__"] = script_vars["src_file"]
        return []
