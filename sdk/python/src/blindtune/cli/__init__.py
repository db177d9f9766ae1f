"""`blindtune`: the label holder's side from a shell.

Owns: arguments, messages and exit codes. Must never: print a key, or send what training/ would not.

    app.py              the commands, and `main`
    groups.py           options in groups: a command's parameters are dataclasses
    parsing.py          what the arguments are before typer reads them: files of options, several words, other names
    options.py          options that commands share; setting_options.py: those of `Settings`
    failures.py         what went wrong, in words, and the exit code
    reading.py          files with the columns that were named
    train.py, looks.py, predict.py, frontier.py, features.py, jobs.py, account.py, doctor.py: the commands
    tables.py           tables and JSON
"""

from .app import main

__all__ = ["main"]
