"""Build hooks: the built page, completion and manual page, the README as the index shows it."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

LEFT_OUT = ("weights", "data", "service-worker.js")


SHARED = {
    "bash": "share/bash-completion/completions/deskull",
    "zsh": "share/zsh/site-functions/_deskull",
    "fish": "share/fish/vendor_completions.d/deskull.fish",
    "man": "share/man/man1/deskull.1",
}
"""Where shells and `man` look, below the place that a wheel is installed to."""

MAKE_SHARED = """
import sys
from pathlib import Path
from deskull import __version__
from deskull.commands import make_parser
from deskull.commands.shells import COMPLETIONS, make_manual
texts = {shell: complete(make_parser()) for shell, complete in COMPLETIONS.items()}
texts["man"] = make_manual(make_parser(), __version__)
for name, text in texts.items():
    Path(sys.argv[1], name).write_text(text, "utf-8", newline="\\n")
"""


class FilesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the page that strips in the browser, where it was built, and what `share/` holds.

    The page is made by `npm ci && npm run build` in `web/` and is not committed; without it a
    wheel is complete but for `deskull web`, which then says so. What the package holds already
    (networks, the example head) is left out of the wheel: `deskull web` serves the package's own
    files.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """List the files, unless the build is an editable one."""
        if version == "editable":
            return
        if self.target_name == "wheel":
            self._made = tempfile.TemporaryDirectory()
            build_data["shared_data"] = self._make_shared(self._made.name)
        page = Path(self.root, "web", "dist")
        if not (page / "index.html").is_file():
            return
        for path in sorted(p for p in page.rglob("*") if p.is_file()):
            name = path.relative_to(page)
            if self.target_name == "sdist":
                build_data["force_include"][str(path)] = f"web/dist/{name.as_posix()}"
            elif name.parts[0] not in LEFT_OUT:
                build_data["force_include"][str(path)] = f"deskull/web/{name.as_posix()}"

    def _make_shared(self, folder: str) -> dict[str, str]:
        """Write completion scripts and manual page, by the parsers of this very source."""
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent / "src")}
        words = [sys.executable, "-c", MAKE_SHARED, folder]
        subprocess.run(words, check=True, env=environment)
        return {str(Path(folder, name)): place for name, place in SHARED.items()}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete what was made for the wheel."""
        if self.target_name == "wheel" and version != "editable":
            self._made.cleanup()


class ReadmeHook(MetadataHookInterface):
    """Makes the README's links absolute, because the package index has no files beside it.

    There the package is installed by its name; in the repository, from the source.
    """

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme; links lead to the files of the version's own tag."""
        text = Path(self.root, "README.md").read_text("utf-8")
        repository = metadata["urls"]["Repository"]
        version = re.search(
            r'^__version__ = "(.+)"$',
            Path(self.root, "src/deskull/__init__.py").read_text("utf-8"),
            re.MULTILINE,
        )
        if version is None:
            raise ValueError("src/deskull/__init__.py: no __version__")
        place = f"{repository}/{{}}/v{version[1]}/"
        text = text.replace("pip install . &&", f"pip install {metadata['name']} &&")
        relative = r"\]\((?!https?:|#|mailto:)"
        text = re.sub(rf"(!\[[^\]]*){relative}", rf"\1]({place.format('raw')}", text)
        text = re.sub(relative, f"]({place.format('blob')}", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
