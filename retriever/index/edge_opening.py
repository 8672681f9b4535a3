"""Makes and opens a model's folder of the embedded engine: for one process at a time, and only if all is there."""

import errno
import fcntl
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import qdrant_edge as engine

from retriever.index import edge_files
from retriever.index.edge_room import need_room
from retriever.index.edge_shard import NAMES_KEY, Shard, is_engines
from retriever.index.fields import WORDS_KEY
from retriever.index.pointer import serving_model
from retriever.index.results import IndexInUse, IndexUnavailable, ModelMismatch

LOCK = "lock"  # in a model's folder: held by the process whose engine has it open

_OPENING = "opening the embedded index"
_PATIENCE = 2.0  # seconds for the engine of a process that was killed to notice, and to let go of the folder


def open_shard(folder: Path, dim: int, model_id: str, beside: bool) -> Shard:
    """A model's index in a folder, created if there is none.

    Args:
        beside: Open it though another model's serves from this folder, as while that is replaced.

    Raises:
        IndexInUse: another process has it open.
        IndexUnavailable: its files cannot be made or read, or its disk is too full to try.
        ModelMismatch: the index of another model serves from this folder.
    """
    ours = folder / model_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not beside and (serving := serving_model(folder, model_id)) != model_id:
            raise ModelMismatch(
                f"the index in {folder} was written by the model {serving}, and this is the model {model_id}: their "
                "vectors cannot be compared. Start with that model, and move the index to this one by `python -m "
                f"service.reindex --model …`; or remove {folder / serving} and send the items again."
            )
        if not ours.exists():
            need_room(ours, _OPENING)
            _create_shard(ours, dim)
        lock = _lock(ours)
    except PermissionError as error:
        raise IndexUnavailable(
            f"the embedded index in {ours} cannot be opened: {error}. Give {folder} and all in it to the user that the "
            "service runs as."
        ) from error
    except OSError as error:
        advice = f". Mount {folder} so that it can be written" if error.errno == errno.EROFS else ""
        raise IndexUnavailable(f"the embedded index in {ours} cannot be created or locked: {error}{advice}") from error
    try:
        need_room(ours, _OPENING)  # whoever only wants what another process serves needs none
        return Shard(ours, _load(ours), lock)
    except BaseException:
        lock.close()
        raise


def _lock(folder: Path) -> IO[bytes]:
    """Keeps other processes away from an index for as long as it is open.

    The engine has a lock of its own, and takes it too late: a second one that opens a folder mends first what the first
    one is in the middle of writing, and items are lost. A process that was killed may have left the folder to an engine
    that is about to end.

    Raises:
        IndexInUse: another process has it.
    """
    lock = (folder / LOCK).open("ab")
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > until:
                lock.close()
                raise _in_use(folder) from None
            time.sleep(0.05)


def _load(folder: Path) -> Any:
    if lost := edge_files.lost(folder):
        raise _damaged(folder, lost)
    try:
        shard = engine.EdgeShard.load(str(folder))
        # It opens over files that are gone, and fails when it is to read them: better now than at a shopper's search.
        records, _ = shard.scroll(engine.ScrollRequest(limit=1, with_payload=True, with_vector=True))
        if records and (gone := {"dense", "tokens", "lexical"}.difference(records[0].vector or ())):
            raise _damaged(folder, f"the items' vectors are gone ({', '.join(sorted(gone))})")
        if NAMES_KEY not in shard.info().payload_schema:  # of a version that indexed every field as it came
            _list_fields(shard)
        return shard
    except BaseException as error:
        if not is_engines(error):
            raise
        if "WouldBlock" in str(error):  # a process of an earlier version, which knows no other lock
            raise _in_use(folder) from error
        raise _damaged(folder, error) from error


def _create_shard(folder: Path, dim: int) -> None:
    """Makes a shard beside and moves it into place, so that a crash leaves all of it or nothing."""
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        shard = engine.EdgeShard.create(str(beside), _config(dim))
        shard.update(engine.UpdateOperation.create_field_index(WORDS_KEY, engine.PayloadSchemaType.Integer))
        _list_fields(shard)
        shard.close()
        edge_files.record(beside)
        if not folder.exists():  # another process may have been quicker
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _config(dim: int) -> Any:
    """How a shard is made. One that is there is opened as it is: those of earlier versions have 16 or 32 bits."""
    # Dot throughout: `dense` has unit length already, and the length of a token carries its weight.
    return engine.EdgeConfig(
        vectors={
            # Eight bits a number, rotated and then rounded. Every search reads all of `dense`, only to find candidates:
            # this finds 99 in 100 of the nearest two hundred, in a quarter of the time.
            "dense": engine.EdgeVectorParams(
                size=dim, distance=engine.Distance.Dot, datatype=engine.VectorStorageDatatype.Turbo8
            ),
            # These rank: it moves a score by 0.0003 (standard deviation).
            "tokens": engine.EdgeVectorParams(
                size=dim,
                distance=engine.Distance.Dot,
                datatype=engine.VectorStorageDatatype.Turbo8,
                multivector_config=engine.MultiVectorConfig(engine.MultiVectorComparator.MaxSim),
            ),
        },
        sparse_vectors={"lexical": engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)},
        wal_enabled=True,
    )


def _list_fields(shard: Any) -> None:
    shard.update(engine.UpdateOperation.create_field_index(NAMES_KEY, engine.PayloadSchemaType.Keyword))


def _in_use(folder: Path) -> IndexInUse:
    return IndexInUse(
        f"the embedded index in {folder} is open already, here or in another process, and takes one at a time. "
        "Stop that process, use another data folder, or share a Qdrant server (QDRANT_URL)."
    )


def _damaged(folder: Path, reason: object) -> IndexUnavailable:
    return IndexUnavailable(
        f"the embedded index in {folder} cannot be opened: {reason}. If its files are damaged, move the whole data "
        "folder away and restore a backup: `python -m service.backup --restore FILE`."
    )
