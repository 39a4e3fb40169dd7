"""The files of a Hugging Face repository: in a folder of one's own, or fetched into the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from wherefore.errors import Error
from wherefore.models.quiet import quiet
from wherefore.models.zoo import Weights, extra, file_sha256, reason

SETTINGS = ["*.json", "*.txt", "*.model", "*.jinja"]
# Safetensors first; never both, and none of the copies in half precision or for other libraries.
WEIGHTS = (
    ["model.safetensors", "model-*-of-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model-*-of-*.bin"],
)


def folder_of(name: str, weights: Weights) -> Path:
    """The folder with the files of ``ORG/NAME``, fetched into the cache, or the local folder of that name.

    The repository's weights are fetched only where they are wanted (``weights="default"``).
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise Error(f"the folder {name} has no config.json: give one that save_pretrained() wrote.")
        return folder
    if name.startswith(("/", ".", "~")) or name.count("/") > 1 or not name:
        raise Error(f"the folder {name!r} does not exist: give hf:ORG/NAME, or hf: and a folder.")
    hub = extra("huggingface_hub")
    try:
        with quiet():
            found = Path(hub.snapshot_download(name, allow_patterns=SETTINGS, ignore_patterns="*/*"))
            for patterns in WEIGHTS if weights == "default" else ():
                hub.snapshot_download(name, allow_patterns=patterns, ignore_patterns="*/*")
                if weight_files(found):
                    break
    except Exception as error:  # of the hub's client, and of its client for the network
        raise Error(
            f"hf:{name} could not be downloaded ({reason(error)}): check the name, or fetch the repository where there "
            "is a network (hf download) and give its folder, hf:./FOLDER."
        ) from None
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files in a folder that its weights are loaded from."""
    for whole, parts in WEIGHTS:
        files = sorted(folder.glob(whole)) or sorted(folder.glob(parts))
        if files:
            return files
    return []


def files_sha256(files: Sequence[Path]) -> str:
    """The sha256 of a file; of several, that of their own, one behind the other."""
    each = [file_sha256(file) for file in files]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()
