"""Judges an endpoint's files by `chamberlain-endpoint check-config`, in a draft beside them.

Standard input: {"program", "folder", "files": {name: text}}. What is not among them is taken as it
is in the folder. Ends with 1 and the faults when the endpoint would not start with them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

SECRET = "token"


def main():
    asked = json.load(sys.stdin)
    folder = asked["folder"].rstrip("/")
    # Beside the folder: only root may have written where the launcher's settings are.
    draft = tempfile.mkdtemp(prefix=".draft-", dir=os.path.dirname(folder))
    try:
        for name in os.listdir(folder):
            if name != SECRET and os.path.isfile(os.path.join(folder, name)):
                shutil.copy(os.path.join(folder, name), draft)
        for name, text in asked["files"].items():
            if name == "launcher.toml":
                text = text.replace('"%s/' % folder, '"%s/' % draft)
            path = os.path.join(draft, name)
            with open(path, "w") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
        done = subprocess.run(
            [asked["program"], "check-config", draft], capture_output=True, text=True
        )
        print((done.stdout + done.stderr).replace(draft, folder))
        sys.exit(done.returncode)
    finally:
        shutil.rmtree(draft)


main()
