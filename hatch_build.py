"""Build hooks: the built page of `web/dist`, and the README as the package index shows it."""

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

LEFT_OUT = ("weights", "data", "service-worker.js")


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the page that strips in the browser, where it was built.

    The page is made by `npm ci && npm run build` in `web/` and is not committed; without it a
    wheel is complete but for `deskull web`, which then says so. What the package holds already
    (networks, the example head) is left out of the wheel: `deskull web` serves the package's own
    files.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """List the page's files, unless the build is an editable one."""
        page = Path(self.root, "web", "dist")
        if version == "editable" or not (page / "index.html").is_file():
            return
        for path in sorted(p for p in page.rglob("*") if p.is_file()):
            name = path.relative_to(page)
            if self.target_name == "sdist":
                build_data["force_include"][str(path)] = f"web/dist/{name.as_posix()}"
            elif name.parts[0] not in LEFT_OUT:
                build_data["force_include"][str(path)] = f"deskull/web/{name.as_posix()}"


class ReadmeHook(MetadataHookInterface):
    """Makes the README's links absolute, because the package index has no files beside it."""

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
        relative = r"\]\((?!https?:|#|mailto:)"
        text = re.sub(rf"(!\[[^\]]*){relative}", rf"\1]({place.format('raw')}", text)
        text = re.sub(relative, f"]({place.format('blob')}", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
