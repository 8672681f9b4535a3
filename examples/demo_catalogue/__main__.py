"""Write the demonstration catalogue as files: `python -m examples.demo_catalogue --output DIR`."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from examples.demo_catalogue import COUNT, products


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.demo_catalogue", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for items.jsonl and images/")
    output: Path = parser.parse_args().output
    (output / "images").mkdir(parents=True, exist_ok=True)
    with (output / "items.jsonl").open("w", encoding="utf-8") as file:
        for product in tqdm(products(), total=COUNT, unit="product"):
            image = f"images/{product.id}.webp"
            product.picture().save(output / image, quality=90)
            item = {
                "item_id": product.id,
                "image": image,
                "title": product.title,
                "description": product.description,
                "category": product.category,
                "price": product.price,
                "attributes": product.attributes,
            }
            file.write(json.dumps(item, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
