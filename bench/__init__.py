"""The project's figures, measured in one run: `python -m bench`. See README.md."""
