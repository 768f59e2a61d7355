"""The site's archive on the machine that runs Ansible: packed, looked at, and one member taken out.

Standard input: {"do": "pack" | "look" | "take", "file", "key_file", "vault", ...}. Says one JSON
object: {"error": SENTENCE} or what was asked. Needs nothing but Python 3.10.

pack: {"stage": folder of the members, "about": {...}} -> {"file"}
look: -> the manifest, once every member was found to be what was put in
take: {"member", "to"} -> {}; `to` is a file that is there already, and private
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time

FORMAT = 1
MANIFEST = "manifest.json"
SUM = "manifest.sha256"
CHUNK = 1 << 20
HEAD = b"$ANSIBLE_VAULT"


class RefusedError(Exception):
    """What cannot be done, as a sentence."""


def summed(file):
    """Return the SHA-256 of what is left in an open file."""
    found = hashlib.sha256()
    while data := file.read(CHUNK):
        found.update(data)
    return found.hexdigest()


def digest(path):
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return summed(file)


def pack(asked):
    """Write a new archive, mode 0600, whole or not at all."""
    stage, final = pathlib.Path(asked["stage"]), pathlib.Path(asked["file"])
    if final.exists():
        raise RefusedError(f"{final} exists already. Name another backup_file.")
    members = sorted(path for path in stage.iterdir() if path.is_file())
    listed = {one.name: {"bytes": one.stat().st_size, "sha256": digest(one)} for one in members}
    made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    manifest = {"format": FORMAT, "made_at": made_at, **asked["about"], "members": listed}
    (stage / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    (stage / SUM).write_text(digest(stage / MANIFEST) + "\n")
    number, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}.")
    aside = pathlib.Path(name)
    try:
        with os.fdopen(number, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for path in (*members, stage / MANIFEST, stage / SUM):
                info = tarfile.TarInfo(path.name)
                info.mode, info.size = 0o600, path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(info, content)
        if asked["key_file"]:
            vault(asked, "encrypt", aside, aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.chmod(0o600)
        os.link(aside, final)
    finally:
        aside.unlink(missing_ok=True)
    return {"file": str(final)}


def vault(asked, word, source, to):
    """Have ansible-vault encrypt or decrypt a file."""
    words = ["--vault-password-file", asked["key_file"], "--output", str(to), str(source)]
    done = subprocess.run(
        [asked["vault"], word, *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RefusedError(f"{asked['file']} cannot be {word}ed: {' '.join(done.stderr.split())}")


def opened(asked, folder):
    """Return the archive as a tar file, decrypted into the private `folder` if it must be."""
    path = pathlib.Path(asked["file"])
    try:
        with path.open("rb") as file:
            is_encrypted = file.read(len(HEAD)) == HEAD
    except OSError as error:
        raise RefusedError(
            f"backup_file is {json.dumps(asked['file'])}, which cannot be read: {error.strerror}."
        ) from None
    if not is_encrypted:
        return path
    if not asked["key_file"]:
        raise RefusedError(f"{path} is encrypted: name the file of its password, backup_key_file.")
    plain = pathlib.Path(folder, "plain.tar")
    vault(asked, "decrypt", path, plain)
    return plain


def look(asked):
    """Return the manifest of an archive that is whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = opened(asked, folder)
        sums, texts = {}, {}
        try:
            with tarfile.open(path, mode="r:") as tar:
                for info in tar:
                    content = tar.extractfile(info)
                    if content is None:
                        raise tarfile.ReadError(info.name)
                    if info.name in {MANIFEST, SUM}:
                        texts[info.name] = content.read()
                    else:
                        sums[info.name] = {"bytes": info.size, "sha256": summed(content)}
            is_whole = hashlib.sha256(texts[MANIFEST]).hexdigest() == texts[SUM].decode().strip()
            manifest = json.loads(texts[MANIFEST]) if is_whole else {}
        except (tarfile.TarError, EOFError, KeyError, ValueError):
            manifest = {}
    if manifest.get("format", FORMAT) != FORMAT:
        raise RefusedError(f"{asked['file']} has form {manifest['format']}, and {FORMAT} is known.")
    if manifest.get("members") != sums:
        raise RefusedError(
            f"{asked['file']} is damaged: what is in it is not what was put in. Take another."
        )
    return manifest


def take(asked):
    """Write one member into a file that is there."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(opened(asked, folder), mode="r:") as tar,
        pathlib.Path(asked["to"]).open("wb") as file,
    ):
        content = tar.extractfile(asked["member"])
        while data := content.read(CHUNK):
            file.write(data)
    return {}


def main():
    """Do what standard input asks for."""
    asked = json.load(sys.stdin)
    os.umask(0o077)
    try:
        answer = {"pack": pack, "look": look, "take": take}[asked["do"]](asked)
    except RefusedError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": f"{error.filename}: {error.strerror}"}
    json.dump(answer, sys.stdout)


main()
