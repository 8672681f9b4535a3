"""What the settings name: the device, the model, its index, the other indexes of the catalogue, and the pictures.

Shared by the service and by the commands that work on its index.
"""

import asyncio
from pathlib import Path

import retriever
from retriever import Retriever
from retriever.index.generations import EdgeGenerations, Generation, Generations
from retriever.inference import Inference
from service.disk import Disk
from service.media import MediaStore, PictureLimits
from service.settings import Settings

_NVIDIA = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # what NVIDIA's driver shows, the second under WSL


def device_of(name: str) -> str:
    """The device that SEARCH_DEVICE names."""
    if name != "auto":
        return name
    if not any(path.exists() for path in _NVIDIA):
        return "cpu"
    import torch  # asked only where there is a driver: it takes 480 MB, and ONNX Runtime does without

    return "cuda" if torch.cuda.is_available() else "cpu"


def disk_of(settings: Settings) -> Disk:
    """The disk that all data lies on."""
    return Disk(settings.data_dir, settings.min_free_bytes)


def media_of(settings: Settings) -> MediaStore:
    """The kept pictures. Raises OSError where their folder cannot be made."""
    return MediaStore(settings.data_dir / "media")


def picture_limits_of(settings: Settings) -> PictureLimits:
    """What a picture may be that somebody sends."""
    return PictureLimits(settings.max_pixels, settings.stored_picture_side, settings.max_file_bytes)


def lasting_name(model: str) -> str:
    """A model's name that means the same in every working directory."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


async def load_model(name: str, device: str, inference: Inference) -> Retriever:
    """A model that has run once: the first run is slow, and no shopper should meet it.

    For queries alone: what reads pictures takes a second and 140 MB, and who only searches never needs it.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: there is no such model, or it cannot run.
    """
    model = await asyncio.to_thread(retriever.load, name, device, inference)
    await asyncio.to_thread(model.encode_queries, ["ready?"])
    return model


def generations_of(settings: Settings) -> Generations:
    """The indexes of the catalogue that the settings name."""
    url = settings.qdrant_url
    if not url:
        return EdgeGenerations(settings.data_dir / "index")
    from retriever.index.server import connect  # the client takes a second to import
    from retriever.index.server_generations import ServerGenerations

    api_key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    return ServerGenerations(lambda: connect(url, api_key), settings.cluster())


async def served_generation(generations: Generations) -> Generation:
    """The index that serves.

    Raises:
        ValueError: there is none, or none whose model is known.
        IndexUnavailable: as `Generations.current`.
    """
    current = await generations.current()
    if current is None or not current.model:
        raise ValueError("there is no index yet, or it was never served by this version: start the service once")
    return current
