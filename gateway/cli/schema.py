"""`signalbox schema`: the JSON Schema of the configuration file, for editors."""

import json

import click


@click.command()
def command() -> None:
    """Print the JSON Schema of the configuration file.

    An editor with YAML support then completes keys and marks mistakes, for example with this first line:
    `# yaml-language-server: $schema=signalbox.schema.json`.
    """
    from config.json_schema import json_schema
    from providers.registry import kinds

    click.echo(json.dumps(json_schema(kinds()), indent=2))
