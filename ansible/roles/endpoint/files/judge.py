"""Judges an endpoint's files by `chamberlain-endpoint check-config`, in a draft beside them.

Standard input: {"program", "folder", "files": {name: text}}. What is not among them is taken as it
is in the folder. Ends with 1 and the faults when the endpoint would not start with them.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SECRET = "token"  # noqa: S105 - the name of a file that is not copied


def lay_out(folder, draft, files):
    """Make the draft: the folder as it is, with `files` on top."""
    for path in folder.iterdir():
        if path.is_file() and path.name != SECRET:
            shutil.copy(path, draft)
    for name, given in files.items():
        # The launcher's settings name the mapping by its whole path.
        named = 'identity_mapping = "'
        text = given.replace(f"{named}{folder}/", f"{named}{draft}/")
        path = draft / name
        path.touch(mode=0o600)
        path.write_text(text)


def main():
    """Judge what is on standard input."""
    asked = json.load(sys.stdin)
    folder = Path(asked["folder"])
    # Beside the folder: only root may have written where the launcher's settings are.
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        lay_out(folder, draft, asked["files"])
        words = [asked["program"], "check-config", str(draft)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        sys.stdout.write((done.stdout + done.stderr).replace(str(draft), str(folder)))
    finally:
        shutil.rmtree(draft)
    sys.exit(done.returncode)


main()
