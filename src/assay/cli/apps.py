"""The command line's groups; commands enter themselves when their module is imported."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="assay",
    help="Turn technical ratings on Binance spot coins into audited portfolios.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
profiles_app = typer.Typer(help="List profiles and show where each setting comes from.", no_args_is_help=True)
app.add_typer(profiles_app, name="profiles")
meta_app = typer.Typer(help="Put sleeves into one portfolio of physical coins.", no_args_is_help=True)
app.add_typer(meta_app, name="meta")
keys_app = typer.Typer(help="Make keys that sign seals, and show their fingerprints.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
