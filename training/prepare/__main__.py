"""The command line of `training.prepare`: every step by itself, or all in a row."""

import argparse
import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import httpx
from pydantic import ValidationError

from training.prepare import report
from training.prepare.answers import Answers
from training.prepare.caption import caption
from training.prepare.caption import price as price_of_captions
from training.prepare.clean import clean
from training.prepare.endpoint import EndpointError
from training.prepare.events import learn
from training.prepare.job import Job, JobError
from training.prepare.output import check
from training.prepare.read import read
from training.prepare.settings import EndpointSettings
from training.prepare.sources import SourceError
from training.prepare.split import split
from training.prepare.translate import price as price_of_translation
from training.prepare.translate import translate
from training.prepare.write import FILES, NothingLeft, write


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare", description="From raw catalogue data to training data, step by step."
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    helps = {
        "all": "every step in a row",
        "read": "1. a source into the job, its pictures checked",
        "translate": "2. texts into English",
        "caption": "3. pictures into words",
        "clean": "4. apply the rules",
        "split": "5. training and validation apart",
        "write": "6. the formats of training.finetune and training.evaluate",
    }
    for step, text in helps.items():
        one = steps.add_parser(step, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        one.add_argument("--job", type=Path, default=Path("runs/prepare"), help="folder of what the steps found")
        if step in ("all", "read"):
            one.add_argument(
                "--source",
                required=True,
                help="folder of MUGE files, .csv or .jsonl of products, folder of pictures, Karpathy's COCO .json, or "
                "the address of a running service",
            )
        if step in ("all", "read", "translate", "caption"):
            one.add_argument("--limit", type=int, help="the first so many rows only")
        if step in ("all", "translate", "caption"):
            one.add_argument("--dry-run", action="store_true", help="say what would be asked and what it would cost")
            one.add_argument(
                "--answers", type=Path, default=Path("runs/answers.sqlite"), help="what was paid for, kept between jobs"
            )
        if step in ("all", "translate"):
            one.add_argument("--language", default="auto", help="of the texts; auto: all that are not in Latin letters")
        if step in ("all", "caption"):
            one.add_argument("--captions", type=int, default=3, help="for each training picture; 0 with `all`: none")
        if step in ("all", "split"):
            one.add_argument("--hold-out", type=float, default=0.1, help="share of items for validation")
        if step in ("all", "write"):
            one.add_argument("--output", type=Path, required=True, help="folder to write to")
    clicks = steps.add_parser(
        "events", help="a service's event log → training data", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    clicks.add_argument("--job", type=Path, default=Path("runs/prepare"), help="the catalogue, read and cleaned")
    clicks.add_argument("--log", type=Path, default=Path("data/events"), help="folder of the service's event log")
    clicks.add_argument("--output", type=Path, required=True, help="folder to write to")
    clicks.add_argument("--hold-out", type=float, default=0.1, help="share of queries for the test")
    clicks.add_argument("--uncorrected", action="store_true", help="let all clicks count the same, to compare")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line()
    options = parser.parse_args(arguments)
    if getattr(options, "limit", None) is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    least = 1 if options.step == "caption" else 0
    if getattr(options, "captions", 1) < least:
        parser.error(f"--captions must be at least {least}")
    if not 0 <= getattr(options, "hold_out", 0.0) < 1:
        parser.error(f"--hold-out is a share, at least 0 and below 1, not {options.hold_out}")
    try:
        run(options)
    except KeyboardInterrupt:
        parser.exit(130, "\nStopped. What was paid for is kept; the same command goes on from there.\n")
    except ValidationError as error:
        reasons = "; ".join(f"PREPARE_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        parser.exit(2, f"{parser.prog}: a setting is wrong: {reasons}\n")
    except (
        JobError,
        SourceError,
        NothingLeft,
        EndpointError,
        ValueError,
        OSError,
        httpx.HTTPError,
        sqlite3.Error,
    ) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def run(options: argparse.Namespace) -> None:
    """The step, or all of them."""
    if options.step == "events":
        with Job(options.job) as job:
            learned = learn(job, options.log, options.output, options.hold_out, corrected=not options.uncorrected)
        print(f"{options.output}: " + "; ".join(f"{count:,} {name}" for name, count in learned.counts.items() if count))
        if not learned.counts["queries held out"]:
            print("No query is held out: there is no dev.valid.jsonl, so train without --valid.")
        return
    everything = options.step == "all"
    if everything:  # what is wrong with a setting, or with the output, is told before anything is read or paid for
        EndpointSettings()
        check(options.output, FILES)
    with Job(options.job, begin=options.step in ("all", "read")) as job, contextlib.ExitStack() as stack:
        if everything or options.step == "read":
            read(job, options.source, options.limit)
            print(report.of_reading(job))
        if everything or options.step in ("translate", "caption"):
            settings = EndpointSettings()
            answers = Answers(options.answers)
            stack.callback(answers.close)
            # With `all`, the limit was on what was read.
            limit = None if everything else options.limit
            captions = options.step == "caption" or (everything and options.captions > 0)
            if everything or options.step == "translate":
                if options.dry_run:
                    print(price_of_translation(job, settings, answers, options.language, limit))
                else:
                    translate(job, settings, answers, options.language, limit)
            if captions:
                if options.dry_run:
                    print(price_of_captions(job, settings, answers, options.captions, limit))
                else:
                    caption(job, settings, answers, options.captions, limit)
            if options.dry_run:
                return
        if everything or options.step == "clean":
            clean(job)
        if everything or options.step == "split":
            split(job, options.hold_out)
        if everything or options.step == "write":
            written = write(job, options.output)
            print(
                f"{options.output}: {written.pairs:,} training pairs of {written.train_items:,} items; "
                f"{written.queries:,} validation queries over {written.valid_items:,} items; "
                f"{options.output / 'report.md'} says what went"
            )


if __name__ == "__main__":
    main()
