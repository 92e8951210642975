"""``python -m ffcv.cli`` is the ``ffcv`` command."""

from ffcv.cli import main

main(prog_name="ffcv")
