"""Catchment: a Portfolio Margin venue anyone can run."""

__version__ = "0.1.0"
