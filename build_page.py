"""Build hook: puts the page of `web/dist`, where it was built, into the wheel and the sdist.

The page is made by `npm ci && npm run build` in `web/` and is not committed; without it a wheel is
complete but for `deskull web`, which then says so. What the package holds already (networks, the
example head) is left out of the wheel: `deskull web` serves the package's own files.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LEFT_OUT = ("weights", "data", "service-worker.js")


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the built page."""

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
