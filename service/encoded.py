"""An encoded catalogue: a folder of Parquet files between `service.encode_catalog` and `service.load_catalog`.

    catalogue.json      the model that encoded it
    items/*.parquet     an item a row, `SCHEMA`
    done/*.parquet      the ids in `items`, by which an interrupted run goes on

The folder may be anywhere that pyarrow reaches: a path, `s3://…`, `gs://…`.
"""

import json
import posixpath
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

FORMAT = 1
ITEMS, DONE = "items", "done"
_MANIFEST = "catalogue.json"
_PENDING = ".pending.parquet"  # Ray Data's mark of rows that are being written

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("fields", pa.string()),  # `schemas.ItemFields`, as JSON
        ("tokens", pa.list_(pa.float32())),  # (T, D), row after row
        ("pictures", pa.list_(pa.struct([("jpeg", pa.binary()), ("sha256", pa.string())]))),  # as `media` keeps them
    ]
)


@dataclass(frozen=True)
class Manifest:
    """Which model's vectors they are."""

    model_id: str
    model: str  # what `retriever.load` took
    dim: int  # D
    format: int = FORMAT


@dataclass(frozen=True)
class Folder:
    """A folder on some file system."""

    files: fs.FileSystem
    path: str
    url: str  # as it was given, for messages

    @classmethod
    def of(cls, place: str) -> "Folder":
        """A path or a URL. Raises OSError or ValueError where pyarrow has no such file system."""
        if "://" in place:
            files, path = fs.FileSystem.from_uri(place)
            return cls(files, path, place)
        return cls(fs.LocalFileSystem(), str(Path(place).expanduser().resolve()), place)

    def under(self, *names: str) -> str:
        return posixpath.join(self.path, *names)

    def address(self, *names: str) -> str:
        """A place below, as a path or a URL again."""
        return posixpath.join(self.url if "://" in self.url else self.path, *names)

    def parquet(self) -> list[str]:
        """The Parquet files below, or itself if it is one. Raises FileNotFoundError."""
        found = self.files.get_file_info(self.path)
        if found.type == fs.FileType.NotFound:
            raise FileNotFoundError(f"{self.url} does not exist")
        return [self.path] if found.type == fs.FileType.File else self._below(self.path)

    def done(self) -> list[str]:
        """The files that say which rows are written."""
        return [path for path in self._below(self.under(DONE)) if not path.endswith(_PENDING)]

    def items(self) -> list[str]:
        """The files with the items. Raises ValueError after a run that was cut off: a file may be half written."""
        if any(path.endswith(_PENDING) for path in self._below(self.under(DONE))):
            raise ValueError(
                f"the run that encoded {self.url} was cut off: run `python -m service.encode_catalog` again"
            )
        return self._below(self.under(ITEMS))

    def _below(self, place: str) -> list[str]:
        found = self.files.get_file_info(fs.FileSelector(place, recursive=True, allow_not_found=True))
        return sorted(one.path for one in found if one.type == fs.FileType.File and one.path.endswith(".parquet"))

    def read_manifest(self) -> Manifest | None:
        """None where nothing was encoded. Raises ValueError for what this version cannot read."""
        try:
            with self.files.open_input_stream(self.under(_MANIFEST)) as file:
                content = json.loads(file.read())
            if content["format"] > FORMAT:
                raise ValueError(f"it has format {content['format']}, and this version reads formats up to {FORMAT}")
            return Manifest(**content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.address(_MANIFEST)} cannot be read: {error}") from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Begins an encoded catalogue. Raises OSError."""
        self.files.create_dir(self.path, recursive=True)
        with self.files.open_output_stream(self.under(_MANIFEST)) as file:
            file.write(json.dumps(asdict(manifest)).encode() + b"\n")
