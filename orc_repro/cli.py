"""The commands: each parses, calls one stage, and turns a user's mistake into one sentence."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from orc_repro.cells import DEFAULT_STUDY, load_study
from orc_repro.completion import assistants, cells, pivots
from orc_repro.config import load_params
from orc_repro.errors import Interrupted, UserError, one_line
from orc_repro.examples import EXAMPLES, FIRST, shown
from orc_repro.interruption import SIGNALS
from orc_repro.memory import is_out_of_memory
from orc_repro.project import reports
from orc_repro.stages.roles import Form

app = typer.Typer(
    name="orc-repro",
    help="Knowledge distillation with online role change (ORC) as a reproducible pipeline.",
    epilog=shown(FIRST),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

StudyOption = Annotated[
    Path, typer.Option("--study", help="The folder of a study.yaml and its cells.yaml.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", envvar="ORC_DEVICE", help="auto, cpu, cuda or cuda:N.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes", min=1, max=4096, help="Of this machine, on this run; params.yaml's if not."
    ),
]
CellArgument = Annotated[str, typer.Argument(help="A cell of cells.yaml.", autocompletion=cells)]
SearchArgument = Annotated[Path, typer.Argument(help="A file of studies/search.")]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Forget what was trained before, and start over.")
]


@app.command("plan")
def plan_command() -> None:
    """Expand every study's declaration into cells.yaml and dvc.yaml, and the pools they share."""
    from orc_repro.plan import plan

    for line in plan():
        print(line)


@app.command("prepare")
def prepare_command(
    dataset: Annotated[str, typer.Argument(help="A name below data in params.yaml.")],
    study: StudyOption = DEFAULT_STUDY,
) -> None:
    """Turn a dataset of params.yaml into arrays, splits and a manifest."""
    from orc_repro.stages.prepare import prepare

    manifest = prepare(load_study(study).params, dataset)
    counts = ", ".join(f"{manifest.count(s)} {s}" for s in ("train", "validation", "test"))
    print(f"{dataset}: {counts}; {manifest.num_classes} classes")


@app.command("list")
def list_command(dataset: str, study: StudyOption = DEFAULT_STUDY) -> None:
    """List the photographs of a dataset, so that DVC prepares it again where they changed."""
    from orc_repro.stages.prepare import listing_of, write_listing

    listing = write_listing(load_study(study).params, dataset)
    if listing is None:
        raise UserError(f"{dataset} needs no listing; DVC looks at its files")
    print(f"{listing_of(dataset)}: {listing.files:,} files, {listing.bytes / 1e9:,.1f} GB")


@app.command("subset")
def subset_command(
    name: str,
    source: Annotated[
        Path, typer.Option("--from", help="torchvision's folder, a train/ test/ tree, or an .npz.")
    ],
    to: Annotated[Path, typer.Option("--to", help="The folder to make.")],
    train_per_class: Annotated[int, typer.Option(min=1)],
    test_per_class: Annotated[int, typer.Option(min=1)],
    every_class: Annotated[int, typer.Option(min=1, max=50, help="Each N-th class only.")] = 1,
) -> None:
    """Draw a few images of each class of cifar10 or cifar100, the same from any copy of it."""
    from orc_repro.data.subset import CLASSES, write_subset

    if name not in CLASSES:
        raise UserError(f"'{one_line(name)}' must be one of {', '.join(CLASSES)}")
    counts = write_subset(
        "cifar10" if name == "cifar10" else "cifar100",
        source,
        to,
        train_per_class=train_per_class,
        test_per_class=test_per_class,
        every_class=every_class,
    )
    print(f"{to}: {counts['train']:,} train, {counts['test']:,} test")


@app.command("pretrain")
def pretrain_command(
    pivot: Annotated[str, typer.Argument(help="A pivot of cells.yaml.", autocompletion=pivots)],
    study: StudyOption = DEFAULT_STUDY,
    device: DeviceOption = "auto",
    restart: RestartOption = False,
    processes: ProcessesOption = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Where a given pivot's file lies.")
    ] = None,
) -> None:
    """Train a pivot alone, or take it from elsewhere, once, for every cell that needs it."""
    if _runs_side_by_side(processes):
        return
    from orc_repro.stages.pretrain import pretrain

    if not pretrain(load_study(study), pivot, device, restart, weights):
        print(f"{pivot} is there already; --restart makes it again")


@app.command("assist")
def assist_command(
    assistant: Annotated[
        str, typer.Argument(help="An assistant of cells.yaml.", autocompletion=assistants)
    ],
    study: StudyOption = DEFAULT_STUDY,
    device: DeviceOption = "auto",
    restart: RestartOption = False,
    processes: ProcessesOption = None,
) -> None:
    """Train a chain's assistant, once, for every cell that needs it."""
    if _runs_side_by_side(processes):
        return
    from orc_repro.stages.pretrain import assist

    if not assist(load_study(study), assistant, device, restart):
        print(f"{assistant} is trained already; --restart trains it again")


@app.command("train")
def train_command(
    cell: CellArgument,
    study: StudyOption = DEFAULT_STUDY,
    device: DeviceOption = "auto",
    restart: RestartOption = False,
    preview: Annotated[
        bool, typer.Option("--plan", help="Say what it will take, and train nothing.")
    ] = False,
    processes: ProcessesOption = None,
    devices: Annotated[
        str | None, typer.Option("--devices", help="With --plan: on so many, as 1,8,64,512.")
    ] = None,
    batch_per_device: Annotated[
        int | None, typer.Option(min=1, help="With --devices: a global batch that grows with them.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="With --devices: of an epoch, if not those here.")
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(help="With --devices: NAME=VALUE instead of measuring it.")
    ] = None,
) -> None:
    """Train one cell (dataset x group x method x seed), continuing where it was stopped."""
    from orc_repro.stages.forecast import forecast
    from orc_repro.stages.train import train

    if devices is not None and preview:
        from orc_repro.scaling.assumptions import assumed, devices_of
        from orc_repro.stages.forecast_devices import Wishes, forecast_devices

        wishes = Wishes(devices_of(devices), batch_per_device, images, assumed(assume or []))
        print("\n".join(forecast_devices(load_study(study), cell, wishes, device)))
        return
    if devices or batch_per_device or images or assume:
        raise UserError("--devices needs --plan; what else is said of a plan needs both")
    if preview:
        print("\n".join(forecast(load_study(study), cell, device).lines()))
        return
    if _runs_side_by_side(processes):
        return
    if not train(load_study(study), cell, device, restart):
        print(f"{cell} is trained already; --restart trains it again")


def _runs_side_by_side(processes: int | None) -> bool:
    """Start this command again on several processes, if so many are wanted; False for one."""
    from orc_repro.processes.launch import run_side_by_side

    wanted = load_params().train
    count = wanted.processes if processes is None else processes
    return run_side_by_side(count, wanted.max_restarts, sys.argv[1:])


@app.command("search")
def search_command(
    search: SearchArgument,
    workers: Annotated[int, typer.Option(min=1, help="How many side by side.")] = 1,
    device: DeviceOption = "auto",
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Search parameters as a file in studies/search says; the same command goes on with it."""
    from orc_repro.search.answer import answer
    from orc_repro.search.work import Worker, work_side_by_side

    one = Worker(search, device)  # whatever is wrong is found before anything is started
    if workers == 1 or worker:
        one.run()
    else:
        work_side_by_side(search, workers, device)
    if not one.finished:
        raise UserError(f"{search}: not all trials were made; the same command goes on with it")
    if not worker:
        print(f"{answer(search, device)}: page.md, trials.csv, best.yaml and figures")


@app.command("promote")
def promote_command(search: SearchArgument) -> None:
    """Put a search's best values into params.yaml, as a change to review."""
    from orc_repro.search.promotion import promote

    for line in promote(search):
        print(line)


@app.command("evaluate")
def evaluate_command(
    cell: CellArgument, study: StudyOption = DEFAULT_STUDY, device: DeviceOption = "auto"
) -> None:
    """Evaluate a trained cell on the test split."""
    from orc_repro.stages.evaluate import evaluate_cell

    result = evaluate_cell(load_study(study), cell, device)
    last = result.target.last.top1
    print(f"{cell}: {result.target_name} {last:.2f} % after epoch {result.epochs}")


@app.command("report")
def report_command(study: StudyOption = DEFAULT_STUDY) -> None:
    """Write a study's tables and figures, and the page of all; tell MLflow the end figures."""
    from orc_repro.page.build import write_page
    from orc_repro.stages.report import deliver_finals, report, write_all_results

    write_all_results()
    folder = report(study)
    page = write_page(draw=[study])
    for problem in deliver_finals(load_study(study)):
        print(f"warning: {problem}", file=sys.stderr)
    print(f"{folder}: table.md, table.csv, summary.json and figures/; all results: results.csv")
    print(f"{page}: every study on one page")


@app.command("page")
def page_command(
    runs_at: Annotated[
        str | None,
        typer.Option("--runs-at", help="An MLflow server's address, to link the runs to."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write to another file than reports/index.html.")
    ] = None,
) -> None:
    """Draw what is missing and write reports/index.html, of all studies, from files alone."""
    from orc_repro.page.build import PAGE, UI, every_study, write_page

    if runs_at is not None and to is None:
        raise UserError(f"--runs-at needs --to FILE: {PAGE} is the same for everyone")
    print(write_page(to or PAGE, UI if runs_at is None else runs_at, every_study()))


@app.command("table")
def table_command(study: StudyOption = DEFAULT_STUDY) -> None:
    """Show a study's table."""
    from rich.console import Console
    from rich.markdown import Markdown

    path = reports(study.resolve().name) / "table.md"
    if not path.exists():
        raise UserError(f"{path} does not exist; `orc-repro report` writes it")
    Console().print(Markdown(path.read_text(encoding="utf-8")))


@app.command("methods")
def methods_command() -> None:
    """List every method of params.yaml, where it comes from, and what a variant changes."""
    from orc_repro.methods import overview

    for line in overview(load_params()):
        print(line)


@app.command("tables")
def tables_command(
    table: Annotated[str | None, typer.Argument(help="A table's id; all, if left out.")] = None,
) -> None:
    """List the published tables, ORC's own and its peers', or show one."""
    from orc_repro.published.show import show

    show(table)


@app.command("run")
def run_command(
    targets: Annotated[list[str] | None, typer.Argument(help="Stages, as train@CELL.")] = None,
    study: StudyOption = DEFAULT_STUDY,
    table: Annotated[
        str | None, typer.Option("--table", help="A study's name or how it begins, as table02.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Stages side by side.")
    ] = None,
) -> None:
    """Run a study's pipeline through DVC; a signal ends all of it in order, to be continued."""
    from orc_repro.stages.jobs import find_job, find_study, jobs_of, with_all_before
    from orc_repro.stages.pipeline import run_pipeline
    from orc_repro.stages.prepare import refresh_listings
    from orc_repro.stages.workers import run_side_by_side

    study = study if table is None else find_study(table)
    jobs = jobs_of(study)
    named = [find_job(jobs, target) for target in targets or ["report"]]
    refresh_listings(load_study(study).params, with_all_before(named, jobs))
    if workers is None:
        run_pipeline([job.address for job in named])
    else:
        run_side_by_side(with_all_before(named, jobs), workers)


@app.command("queue")
def queue_command(
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Stop in order after so long.")
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option("--study", help="Only studies of this name, as 'table0*'.")
    ] = None,
    share: Annotated[
        str, typer.Option("--share", help="I/N: one of N machines that share nothing.")
    ] = "1/1",
    device: DeviceOption = "auto",
    show: Annotated[bool, typer.Option("--list", help="Show the queue, and do nothing.")] = False,
) -> None:
    """Work off the cells of all studies, the most wanted first, and without DVC."""
    from orc_repro.queue.order import read_entries, shared
    from orc_repro.queue.show import lines
    from orc_repro.queue.work import work

    part = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", share)
    if part is None or int(part[1]) > int(part[2]):
        raise UserError(f"--share is '{one_line(share)}'; it must be I/N, as 2/3")
    entries = shared(read_entries(study or [], load_params()), int(part[1]), int(part[2]))
    print("\n".join(lines(entries) if show else work(entries, device, minutes)))


@app.command("import")
def import_command(folder: Path) -> None:
    """Take over what was trained in another copy of the project, after it was verified."""
    from orc_repro.queue.bring import bring

    taken, refused = bring(folder)
    for line in [*taken, *refused]:
        print(line)
    if refused:
        raise UserError(f"{len(refused)} of the runs in {folder} do not fit, and were left there")


@app.command("certify")
def certify_command(
    study: Annotated[
        list[str] | None, typer.Option("--study", help="Only studies of this name, as 'table0*'.")
    ] = None,
) -> None:
    """Tell DVC of results that were made without it, where they are what it would have made."""
    from orc_repro.queue.certify import certify
    from orc_repro.queue.order import read_entries

    for line in certify(read_entries(study or [], load_params())):
        print(line)


@app.command("status")
def status_command(
    study: Annotated[
        str | None, typer.Argument(help="A study's name or how it begins; all, if left out.")
    ] = None,
) -> None:
    """Show what is measured, running, stopped or missing; a study's cells, or every study."""
    from orc_repro.stages.jobs import find_study
    from orc_repro.stages.status import lines

    for line in lines(None if study is None else find_study(study)):
        print(line)


@app.command("roles")
def roles_command(
    cell: CellArgument,
    study: StudyOption = DEFAULT_STUDY,
    form: Annotated[
        Form | None, typer.Option("--format", help="Print the table of changes instead.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write that table: FILE.csv or FILE.parquet.")
    ] = None,
) -> None:
    """Show who was temporary teacher in a trained cell, and for how long."""
    from orc_repro.stages.roles import as_bytes, form_of, read_roles, summary, tidy, write
    from orc_repro.stages.train import iterations_of

    changes = read_roles(cell)
    if to is not None:
        print(write(tidy(changes), to, form or form_of(to)))
    elif form is not None:
        if form == Form.PARQUET and sys.stdout.isatty():
            raise UserError("a terminal cannot show Parquet; --to FILE.parquet writes it")
        sys.stdout.buffer.write(as_bytes(tidy(changes), form))
    else:
        print("\n".join(summary(changes, iterations_of(load_study(study), cell))))


@app.command("check")
def check_command() -> None:
    """Check that dvc.lock, the cells and the results agree; runs nothing, needs no data."""
    from orc_repro.stages.check import check

    check()
    print("every stage is as dvc.lock says, and the report is that of the results")


@app.command("sync")
def sync_command() -> None:
    """Deliver to MLflow whatever of this machine's runs has not arrived there yet."""
    from orc_repro.stages.sync import sync

    delivered, problems = sync(load_params().tracking)
    if problems:
        raise UserError(problems[0])
    print(f"{delivered} runs are delivered")


@app.command("register")
def register_command(
    study: Annotated[
        str, typer.Argument(help="A study's name or how it begins.")
    ] = DEFAULT_STUDY.name,
) -> None:
    """Register a study's best target networks in MLflow, as models that load anywhere."""
    from orc_repro.stages.jobs import find_study
    from orc_repro.stages.register import register

    for line in register(load_study(find_study(study))):
        print(line)


@app.command("ui")
def ui_command(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open the MLflow UI on the run store; listens on this machine's loopback address only."""
    from orc_repro.tracking.ui import serve

    serve(port)


for _command in app.registered_commands:
    _command.epilog = shown(EXAMPLES[str(_command.name)])


def main() -> None:
    """Run a command; a user's mistake is one sentence on standard error and exit code 2.

    A signal ends it in one sentence as well, with 128 + its number.
    """
    former = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in former.items():
            if handler is not signal.SIG_IGN:  # nohup, or a shell's background job
                signal.signal(number, _interrupt)
        app()
    except Interrupted as stopped:
        print(f"orc-repro: {stopped}", file=sys.stderr)
        sys.exit(stopped.exit_code)
    except UserError as error:
        print(f"orc-repro: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            _say_lost_worker(error)
            raise
        print(f"orc-repro: no memory is left ({one_line(str(error), 200)})", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that is not there or cannot be written
        print(f"orc-repro: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _say_lost_worker(error: Exception) -> None:
    """End with a sentence if torch noticed, at whatever place, that a reading process is gone."""
    from orc_repro.data.streaming import lost_worker

    sentence = lost_worker(error)
    if sentence is not None:
        print(f"orc-repro: {sentence}", file=sys.stderr)
        sys.exit(2)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number))
