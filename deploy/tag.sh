#!/usr/bin/env bash
# Tags the version of src/deskull/__init__.py, if everything that names a version agrees with it.
# The last step but one of RELEASING.md; the push of the tag, which publishes, is left to you.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/deskull/__init__.py)
today=$(date -u +%F)

fail() { echo "tag.sh: $*" >&2; exit 1; }
[ -z "$(git status --porcelain)" ] || fail "the working tree has changes. Commit them first."
[ "$(git branch --show-current)" = main ] || fail "not on main. Release from main."
git rev-parse -q --verify "refs/tags/v$version" > /dev/null && fail "v$version exists. Raise __version__."
grep -qx "## $version ($today)" CHANGELOG.md \
  || fail "CHANGELOG.md: no heading '## $version ($today)'. Set the date to today's."
python -m pytest -q -p no:cacheprovider tests/test_release.py \
  || fail "the version is not the same everywhere; see above."

git tag -a "v$version" -m "deskull $version"
echo "Tagged v$version. Publish it with: git push origin v$version"
