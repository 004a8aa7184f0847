"""How much an install takes: deskull by itself and with each extra, each in a fresh environment.

    python benchmarks/install_size.py [EXTRA ...]

Builds the wheel once, installs it by pip as a user would, and adds up the files that came with
it (pip itself is not counted). Without EXTRA: nothing, then each extra for stripping, then `all`.
Prints Markdown: the size in all, and the largest packages.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("", "n4", "minc", "zstd", "openvino", "all")
LARGEST = 6  # packages that are named


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("extra", nargs="*", default=EXTRAS)
    options = parser.parse_args()
    print("| install | MB | of which |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        for extra in options.extra:
            sizes = measure(wheel, extra, Path(folder) / (extra or "plain"))
            name = f"deskull[{extra}]" if extra else "deskull"
            largest = sorted(sizes.items(), key=lambda item: -item[1])[:LARGEST]
            parts = ", ".join(f"{package} {size / 1e6:.0f}" for package, size in largest)
            print(f"| `{name}` | {sum(sizes.values()) / 1e6:.0f} | {parts} |", flush=True)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this source."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    return next(folder.glob("deskull-*.whl"))


def measure(wheel: Path, extra: str, folder: Path) -> dict[str, int]:
    """Install into a fresh environment; bytes on disk by package."""
    venv.create(folder, with_pip=False)
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*command, "install", "-q", "--prefer-binary", wanted], check=True)
    return dict(weigh(next(folder.glob("lib/*/site-packages"))))


def weigh(site: Path) -> Iterator[tuple[str, int]]:
    """Name of each package and the bytes of its files, libraries beside it and bytecode."""
    sizes: dict[str, int] = {}
    for path in site.rglob("*"):
        if path.is_file() and not path.is_symlink():
            top = path.relative_to(site).parts[0]
            name = top.removesuffix(".libs") if top.endswith(".libs") else top.partition("-")[0]
            sizes[name.lower()] = sizes.get(name.lower(), 0) + path.stat().st_size
    yield from sizes.items()


if __name__ == "__main__":
    main()
