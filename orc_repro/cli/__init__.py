"""The commands: each parses, calls one stage, and turns a user's mistake into one sentence.

A command imports what it calls when it is called, so that none waits for what another needs.
"""

from __future__ import annotations

import platform
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer

from orc_repro import __version__
from orc_repro.addresses import redact_logs, redacted
from orc_repro.cli import declaring, showing, tracking, training, working
from orc_repro.cli.examples import EXAMPLES, FIRST, shown
from orc_repro.errors import Interrupted, UserError, one_line, say
from orc_repro.interruption import SIGNALS
from orc_repro.memory import is_out_of_memory
from orc_repro.user import name_user

COMMANDS: dict[str, Callable[..., None]] = {
    "plan": declaring.plan_command,
    "probe": declaring.probe_command,
    "prepare": declaring.prepare_command,
    "list": declaring.list_command,
    "subset": declaring.subset_command,
    "pretrain": training.pretrain_command,
    "assist": training.assist_command,
    "train": training.train_command,
    "search": training.search_command,
    "promote": training.promote_command,
    "evaluate": training.evaluate_command,
    "report": showing.report_command,
    "page": showing.page_command,
    "reproduction": showing.reproduction_command,
    "table": showing.table_command,
    "methods": showing.methods_command,
    "tables": showing.tables_command,
    "run": working.run_command,
    "queue": working.queue_command,
    "import": working.import_command,
    "certify": working.certify_command,
    "status": working.status_command,
    "roles": showing.roles_command,
    "check": working.check_command,
    "sync": tracking.sync_command,
    "register": tracking.register_command,
    "publish": tracking.publish_command,
    "ui": tracking.ui_command,
}
"""By name, in the order of ``orc-repro --help``."""

app = typer.Typer(
    name="orc-repro",
    epilog=shown(FIRST),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_versions(wanted: bool) -> None:
    if wanted:
        from orc_repro.tracking.description import installed

        stood_on = (f"{name} {installed(name)}" for name in ("torch", "mlflow", "dvc", "optuna"))
        print(f"orc-repro {__version__}: Python {platform.python_version()}, {', '.join(stood_on)}")
        raise typer.Exit


@app.callback()
def _options(
    versions: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_say_versions,
            is_eager=True,
            help="Say this version, and those of what it stands on.",
        ),
    ] = False,
) -> None:
    """Knowledge distillation with online role change (ORC) as a reproducible pipeline."""


for _name, _command in COMMANDS.items():
    app.command(_name, epilog=shown(EXAMPLES[_name]))(_command)


def main() -> None:
    """Run a command; a user's mistake is one sentence on standard error and exit code 2.

    A signal ends it in one sentence as well, with 128 + its number.
    """
    name_user()
    former = {number: signal.getsignal(number) for number in SIGNALS}
    redact_logs()
    try:
        for number, handler in former.items():
            if handler is not signal.SIG_IGN:  # nohup, or a shell's background job
                signal.signal(number, _interrupt)
        app()
    except Interrupted as stopped:
        say("orc-repro", str(stopped))
        sys.exit(stopped.exit_code)
    except UserError as error:
        say("orc-repro", redacted(str(error)))
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            _say_lost_worker(error)
            raise
        say("orc-repro", f"no memory is left ({one_line(str(error), 200)})")
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that is not there or cannot be written
        say("orc-repro", redacted(str(error)))
        sys.exit(2)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _say_lost_worker(error: Exception) -> None:
    """End with a sentence if torch noticed, at whatever place, that a reading process is gone."""
    from orc_repro.data.streaming import lost_worker

    sentence = lost_worker(error)
    if sentence is not None:
        say("orc-repro", str(sentence))
        sys.exit(2)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number))
