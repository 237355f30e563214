"""`python -m catchment` is the command line."""

from catchment.cli import main

if __name__ == "__main__":
    main(prog_name="catchment")
