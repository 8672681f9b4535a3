"""Train a fused retriever: `python -m training.finetune --model compact --train pairs.json --output runs/mine`.

One loop on Accelerate that reads top to bottom: pairs → features → both sides of the model → contrast → optimiser.
The same command runs on one CPU, one GPU, or many with `accelerate launch`. Killed at any moment, the same command
goes on from the last checkpoint with the same order of data.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, set_seed
from torch import Tensor, nn
from tqdm import tqdm

import retriever
from retriever import PRESETS, Processor, checkpoint
from retriever.model import FusedRetriever
from training import backbones, run_state
from training.arguments import LISTS, TrainArgs, command_line, paths
from training.collate import Collator
from training.data import Augmentation, BatchSampler, Source
from training.features import FeatureCache
from training.gradcache import contrast, slices
from training.loader import PairTensors, batches
from training.logbook import Logbook
from training.losses import distillation, itc, itm
from training.matching import draw_itm_pairs
from training.pairs import Pairs
from training.pictures import PictureReader
from training.precision import mixed_precision
from training.processes import average_gradients, gather
from training.trainable import freeze, parameter_groups
from training.validation import open_validations
from training.weights import broken_weights

if TYPE_CHECKING:
    from training.teacher import Teacher

# Queries (B, D), item tokens (N, Q, D), positives (B, N), temperature → ()
ContrastiveLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

CLIP_NORM = 1.0
LOG_EVERY = 10
TAUGHT = 0.5  # share of the teachers' opinion in the loss, where there is one: all of it finds less than half
PATIENCE = timedelta(hours=12)  # how long processes wait for the one that computes features or measures recall


def build(args: TrainArgs) -> tuple[FusedRetriever, Processor]:
    """The model to start from: a checkpoint, or a preset on its backbones.

    Raises:
        ValueError: --from-backbones is given with something that is no preset.
        FileNotFoundError, ModuleNotFoundError: the checkpoint or the backbones' packages are missing.
    """
    if not args.from_backbones:
        loaded = retriever.load(args.model)
        return loaded.model, loaded.processor
    if args.model != "compact":
        raise ValueError(f"--from-backbones knows the backbones of 'compact', not of {args.model!r}")
    weights, tokenizer = backbones.load_minilm()
    config = PRESETS[args.model]
    model, processor = FusedRetriever(config), Processor(config, tokenizer)
    backbones.load_vision_backbone(model.vision)
    backbones.start_from_bert(model, weights)
    backbones.name_concepts(model.eval(), processor)
    return model, processor


def set_dropout(model: nn.Module, share: float) -> None:
    """Set the dropout of hidden states. The attention's is a number in transformers' configuration, not a module: it
    stays as it is, since every recorded run had it.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def make_optimiser(pairs: Pairs, args: TrainArgs) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameter_groups(pairs, args), betas=(0.9, 0.98), fused=True)


def learning_rate(step: int, args: TrainArgs) -> float:
    """Share of the peak rate: a linear warm-up, then half a cosine to zero."""
    if step < args.warmup:
        return (step + 1) / args.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - args.warmup) / max(1, args.steps - args.warmup)))


def train(
    args: TrainArgs, contrastive_loss: ContrastiveLoss = itc, augmentation: Augmentation | None = None
) -> dict[str, float]:
    """Run or resume a training run; returns the last validation, empty without --valid or where it was finished.

    Args:
        contrastive_loss, augmentation: what `training.ablation` changes; no flag does.

    Raises:
        ValueError: the output folder holds another run, a batch cannot be shared by the processes, or
            the loss or a weight is no number any more; as FormatError, a file of --train, --negatives or --valid is
            not in its format, or a picture cannot be decoded.
        OSError: one of the files or the teacher cannot be read.
    """
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # else Accelerate joins no processes on CPUs
        mixed_precision=mixed_precision(args.precision),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if args.batch_size % accelerator.num_processes:
        raise ValueError(f"--batch-size {args.batch_size} is no multiple of the {accelerator.num_processes} processes")
    output = Path(args.output)
    with accelerator.main_process_first():  # the others read what it downloaded
        teachers = _teachers(args, accelerator)
        models = {} if args.from_backbones else {args.model: retriever.identify(args.model)}
        models |= {name: teacher.model_id for name, teacher in zip(args.teacher, teachers, strict=True)}
        finished = run_state.check_same_run(output, args, models)
    if finished:
        accelerator.print(f"{output}: this run is finished; to train again, choose another --output")
        return {}
    set_seed(args.seed, device_specific=True)  # only now: opening a teacher may draw numbers too
    if args.warmup >= args.steps:
        accelerator.print(f"--warmup {args.warmup}: the learning rate rises in all of the {args.steps} steps")

    model, processor = build(args)
    set_dropout(model, args.dropout)
    if accelerator.device.type == "cpu":
        # The backward pass of torch's fused attention is slow on CPUs: half of a step's time.
        model.qformer.set_attn_implementation("eager")
    sources = [Source(*paths(path)) for path in args.train]
    for source, path in zip(sources, args.negatives, strict=False):  # there are as many, or none
        if path != "-":
            source.use_negatives(Path(path))
    if teachers and all(source.pictured for source in sources):
        accelerator.print("--teacher: teachers read texts alone, and every file of --train has pictures: none is asked")
    lora = freeze(model, args)
    with accelerator.main_process_first():  # the others read what it computed
        pictures = _pictures(model, processor, accelerator, args)
        validations = open_validations(Collator(processor, pictures), [paths(path) for path in args.valid])
        of_files = [source.notes for source in sources] + [one.notes for one in validations.values()]
        for note in (note for notes in of_files for note in notes):
            accelerator.print(note)
        for source in sources:
            pictures.add([picture for picture in source.pictures if picture])
    served = processor.config
    short = replace(served, max_query_length=args.max_query_length, max_text_length=args.max_text_length)
    collator = Collator(Processor(short, processor.tokenizer), pictures)
    if teachers:
        from training.teacher import encode_sources

        encode_sources(teachers, sources)
    augmentation = replace(augmentation or Augmentation(), drop_picture=args.drop_picture, drop_text=args.drop_text)
    sampler = BatchSampler(sources, args.batch_size, args.seed, augmentation)

    pairs = Pairs(model)
    optimiser = make_optimiser(pairs, args)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate(step, args))
    prepared, optimiser = accelerator.prepare(pairs, optimiser)
    pairs = accelerator.unwrap_model(prepared)  # its gradients are averaged in `training.processes`
    first = run_state.resume(output, accelerator, scheduler)
    main = accelerator.is_main_process
    logbook = Logbook(output, first) if main else None
    last: dict[str, float] = {}

    pairs.train()
    steps = tqdm(
        range(first, args.steps), initial=first, total=args.steps, desc="training", unit="step", disable=not main
    )
    drawn = batches(
        sampler,
        collator,
        args,
        first,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        teachers=teachers,
    )
    for step, tensors in zip(steps, drawn, strict=True):
        optimiser.zero_grad()
        losses = backward(pairs, tensors, collator.processor, accelerator, args, contrastive_loss)
        average_gradients(pairs.parameters())
        accelerator.clip_grad_norm_(pairs.parameters(), CLIP_NORM)
        optimiser.step()
        scheduler.step()

        done = step + 1
        if logbook and (done % LOG_EVERY == 0 or done == args.steps):  # the last, since a run may be shorter
            values = {name: value.item() for name, value in losses.items()}
            _check_loss(step, values["loss"])
            logbook.add(step, {**values, "temperature": pairs.temperature().item()})
            shown = {name: f"{value:.1f}" for name, value in last.items()}
            steps.set_postfix({"loss": f"{values['loss']:.3f}"} | shown)
        if done % args.save_every == 0 or done == args.steps:
            _check_loss(step, losses["loss"].item())
            _check_weights(pairs)
            if logbook:
                measured = {name: one.measure(pairs.model) for name, one in validations.items()}
                logbook.add(step, {f"{name}/{k}": x for name, values in measured.items() for k, x in values.items()})
                last = {name: values["mean"] for name, values in measured.items()}
            run_state.save(output, accelerator, scheduler, done)

    if logbook:
        logbook.close()
        if lora:
            lora.merge_and_unload()
        _check_weights(pairs)  # a state may be of an older version, which did not look
        pairs.model.config = replace(pairs.model.config, matching=args.itm > 0)
        model_id = checkpoint.save(pairs.model, processor.tokenizer, output, args.storage)  # type: ignore[arg-type]
        run_state.note_model(output, model_id)
        plots = logbook.plot()
        run_state.remove(output)
        print(f"{output}: model {model_id}; {', '.join(path.name for path in plots)}")
    accelerator.end_training()
    return last


def backward(
    pairs: Pairs,
    tensors: PairTensors,
    processor: Processor,
    accelerator: Accelerator,
    args: TrainArgs,
    contrastive_loss: ContrastiveLoss = itc,
) -> dict[str, Tensor]:
    """Add the gradients of one batch to the weights; returns its loss, and the parts of it if there are several."""
    device = accelerator.device

    def encode(part: slice) -> tuple[Tensor, Tensor]:
        with accelerator.autocast():
            return pairs(*tensors.rows(part, device))  # type: ignore[no-any-return]

    def loss(queries: Tensor, items: Tensor) -> Tensor:
        queries, items = gather(queries), gather(items)
        value = contrastive_loss(queries, items, tensors.positives.to(device), pairs.temperature())
        if tensors.taught is None:
            return value
        to_items, to_queries = (each.to(device) for each in tensors.taught)
        return torch.lerp(value, distillation(queries, items, (to_items, to_queries), pairs.temperature()), TAUGHT)

    contrasted = contrast(encode, loss, len(tensors), args.chunk)
    if not args.itm:
        return {"loss": contrasted.loss}
    couples = draw_itm_pairs(contrasted, tensors.positives[tensors.own, tensors.own], pairs.temperature())
    matched = torch.zeros((), device=device)
    for part in slices(len(couples), args.chunk or len(tensors)):
        with accelerator.autocast():
            logits = pairs.match(*couples.rows(part, tensors, processor, device))
        value = itm(logits, couples.matches[part]) * len(logits) / len(couples)
        (args.itm * value).backward()  # type: ignore[no-untyped-call]
        matched += value.detach()
    return {"loss": contrasted.loss + args.itm * matched, "itc": contrasted.loss, "itm": matched}


def _pictures(
    model: FusedRetriever, processor: Processor, accelerator: Accelerator, args: TrainArgs
) -> FeatureCache | PictureReader:
    if args.unfreeze:
        return PictureReader(processor)
    return FeatureCache(Path(args.features), model.vision.to(accelerator.device), processor, args.views)


def _teachers(args: TrainArgs, accelerator: Accelerator) -> "list[Teacher]":
    if not args.teacher:
        return []
    from training.teacher import open_teacher

    return [open_teacher(name, accelerator.device) for name in args.teacher]


def _check_loss(step: int, loss: float) -> None:
    if not math.isfinite(loss):
        raise ValueError(f"the loss of step {step} is {loss}: try a lower --lr, or --precision no")


def _check_weights(pairs: Pairs) -> None:
    if broken := broken_weights(pairs.state_dict()):
        raise ValueError(f"{len(broken)} weights are no numbers any more ({broken[0]}): try a lower --lr")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_line()
    values = vars(parser.parse_args(arguments))
    try:
        train(TrainArgs(**values | {name: tuple(values[name]) for name in LISTS}))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
