"""`demur plan`: print what an audit would do."""

from demur.cli import settings


def plan(
    model: settings.Model = None,
    data: settings.Data = None,
    plan: settings.PlanFile = None,
    set_: settings.Settings = None,
    limit: settings.Limit = None,
    risk: settings.Risk = None,
    batch: settings.Batch = None,
    seed: settings.Seed = None,
    prevalence: settings.Prevalence = None,
) -> None:
    """Print the resolved plan as TOML, every default written out."""
    chosen = settings.read(model, data, plan, set_, limit, risk, batch, seed, prevalence)
    from demur.audit.loop import resolve
    from demur.data import open_data

    print(resolve(chosen, open_data(chosen.data.address)).toml(), end="")
